"""Public sets whose samples are several images, and the line that loads each.

The one source of docs/datasets.md (which scripts/write_datasets_page.py writes), of what `plan`
greets, and of the tests of both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class KnownSet:
    """A public set.

    Attributes:
        name, home, licence: As its own pages have them; no licence where they state none.
        kind: The heading of the page under which it stands.
        folder: The folder, as it is distributed, that goes into `data_dir`.
        options: The options of `load_dataset` beside it.
        files: Some files in that folder, by their own names; {a,b} stands for a and b.
        example: The rows that the line makes of `files`: "split sample_id: view view".
        images: Regular expressions. A folder is this set where each of its images fits one.
        rows, views: How many the whole set gives, and of views, of what.
        note: What a user should know besides.
        named: Whether these expressions say too little: the folder has to be called as `folder`.
    """

    name: str
    kind: str
    home: str
    folder: str
    options: dict[str, Any]
    files: list[str]
    example: list[str]
    images: list[str]
    rows: str
    views: str
    licence: str = ""
    note: str = ""
    named: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Fits the path of each image of the set, from its folder on."""
        return re.compile("|".join(f"(?:{text})" for text in self.images))


KNOWN_SETS = [
    # --- objects ---
    KnownSet(
        name="ETH-80",
        kind="Objects",
        home="https://www.mpi-inf.mpg.de/departments/computer-vision-and-multimodal-computing/research/object-recognition-and-scene-understanding/analyzing-appearance-and-contour-based-methods-for-object-categorization",
        folder="eth80-cropped-close128",
        options={
            "layout": {
                "images": "{sample}/{sample}-{view}",
                "masks": "{sample}/maps/{sample}-{view}-map",
            }
        },
        files=[
            "apple1/apple1-{000-000,022-000}.png",
            "apple1/maps/apple1-{000-000,022-000}-map.png",
            "car14/car14-{000-000,022-000}.png",
            "car14/maps/car14-{000-000,022-000}-map.png",
        ],
        example=["train apple1: 000-000 022-000", "train car14: 000-000 022-000"],
        images=[
            r"(apple|car|cow|cup|dog|horse|pear|tomato)\d+/(maps/)?(apple|car|cow|cup|dog|horse|pear|tomato)\d+-\d{3}-\d{3}(-map)?\.png"
        ],
        rows="80",
        views="41",
        note="the class is the start of the sample's name (apple1): give it as the column `label` of a `metadata.csv`",
    ),
    KnownSet(
        name="ModelNet40, 12 shaded views (MVCNN)",
        kind="Objects",
        home="https://github.com/jongchyisu/mvcnn_pytorch",
        licence="academic research (ModelNet)",
        folder="modelnet40_images_new_12x",
        options={"layout": "{label}/{split}/{sample}.obj.shaded_v{view}"},
        files=[
            "airplane/train/airplane_0001.obj.shaded_v{001,002}.png",
            "airplane/test/airplane_0627.obj.shaded_v{001,002}.png",
            "night_stand/train/night_stand_0001.obj.shaded_v{001,002}.png",
        ],
        example=[
            "train airplane/airplane_0001: 001 002",
            "train night_stand/night_stand_0001: 001 002",
            "test airplane/airplane_0627: 001 002",
        ],
        images=[r"[a-z_]+/(train|test)/[a-z_]+_\d{4}\.obj\.shaded_v\d{3}\.png"],
        rows="9,843 train, 2,468 test",
        views="12",
    ),
    KnownSet(
        name="ModelNet40, 20 views (RotationNet)",
        kind="Objects",
        home="https://github.com/kanezaki/pytorch-rotationnet",
        licence="academic research (ModelNet)",
        folder="modelnet40v2png_ori4",
        options={"layout": "{label}/{split}/{sample}_{view}"},
        files=[
            "airplane/train/airplane_0001_{001,002}.png",
            "airplane/test/airplane_0627_{001,002}.png",
            "night_stand/train/night_stand_0001_{001,002}.png",
        ],
        example=[
            "train airplane/airplane_0001: 001 002",
            "train night_stand/night_stand_0001: 001 002",
            "test airplane/airplane_0627: 001 002",
        ],
        images=[
            r"(?P<label>airplane|bathtub|bed|bench|bookshelf|bottle|bowl|car|chair|cone|cup|curtain|desk|door|dresser|flower_pot|glass_box|guitar|keyboard|lamp|laptop|mantel|monitor|night_stand|person|piano|plant|radio|range_hood|sink|sofa|stairs|stool|table|tent|toilet|tv_stand|vase|wardrobe|xbox)/(train|test)/(?P=label)_\d{4,9}_\d{3}\.png"
        ],
        rows="9,843 train, 2,468 test",
        views="20",
    ),
    KnownSet(
        name="ShapeNet renderings (3D-R2N2)",
        kind="Objects",
        home="https://github.com/chrischoy/3D-R2N2",
        licence="ShapeNet's: research and education, not commercial",
        folder="ShapeNetRendering",
        options={"layout": "{label}/{sample}/rendering/{view}"},
        files=[
            "02691156/10155655850468db78d106ce0a280f87/rendering/{00,01}.png",
            "02691156/10155655850468db78d106ce0a280f87/rendering/{rendering_metadata,renderings}.txt",
            "03001627/1006be65e7bc937e9141f9b58470d646/rendering/{00,01}.png",
        ],
        example=[
            "train 02691156/10155655850468db78d106ce0a280f87: 00 01",
            "train 03001627/1006be65e7bc937e9141f9b58470d646: 00 01",
        ],
        images=[r"0\d{7}/[0-9a-f]{30,32}/rendering/\d\d\.png"],
        rows="43,783",
        views="24",
        note="the 13 classes are WordNet numbers, which `class_names` can rename",
    ),
    KnownSet(
        name="RGB-D Object",
        kind="Objects",
        home="https://rgbd-dataset.cs.washington.edu",
        folder="rgbd-dataset",
        options={
            "layout": {
                "images": "{label}/{sample}/{sample}_{view}_crop",
                "depth": "{label}/{sample}/{sample}_{view}_depthcrop",
                "masks": "{label}/{sample}/{sample}_{view}_maskcrop",
            },
            "on_missing_view": "null",
        },
        files=[
            "apple/apple_1/apple_1_1_{1,6}_{crop,depthcrop,maskcrop}.png",
            "apple/apple_1/apple_1_1_{1,6}_loc.txt",
            "food_bag/food_bag_2/food_bag_2_4_{1,6}_{crop,depthcrop,maskcrop}.png",
        ],
        example=["train apple/apple_1: 1_1 1_6", "train food_bag/food_bag_2: 4_1 4_6"],
        images=[
            r"(?P<label>[a-z_]+)/(?P<sample>(?P=label)_\d+)/(?P=sample)_\d+_\d+_(depth|mask)?crop\.png"
        ],
        rows="300",
        views="about 140 each, 41,877 in all",
        note="the cropped images for evaluation; a view name is the height of the camera and the number of the frame",
    ),
    KnownSet(
        name="CO3D v2 (Common Objects in 3D)",
        kind="Objects",
        home="https://github.com/facebookresearch/co3d",
        licence="CC BY-NC 4.0",
        folder="co3d",
        options={
            "layout": {
                "images": "{label}/{sample}/images/{view}",
                "masks": "{label}/{sample}/masks/{view}",
                "depth": "{label}/{sample}/depths/{view}.jpg.geometric",
                "depth_masks": "{label}/{sample}/depth_masks/{view}",
            },
            "on_missing_view": "null",
        },
        files=[
            "apple/110_13051_23361/images/frame{000001,000002}.jpg",
            "apple/110_13051_23361/masks/frame{000001,000002}.png",
            "apple/110_13051_23361/depths/frame{000001,000002}.jpg.geometric.png",
            "apple/110_13051_23361/depth_masks/frame{000001,000002}.png",
            "apple/110_13051_23361/pointcloud.ply",
            "chair/62_4316_10649/images/frame{000001,000002}.jpg",
            "chair/62_4316_10649/masks/frame000001.png",
            "chair/frame_annotations.jgz",
        ],
        example=[
            "train apple/110_13051_23361: frame000001 frame000002",
            "train chair/62_4316_10649: frame000001 frame000002",
        ],
        images=[
            r"[a-z]+/\d+_\d+_\d+/(images|masks|depths|depth_masks)/frame\d{6}\.(jpg|png|jpg\.geometric\.png)"
        ],
        rows="one a video, 51 classes",
        views="about 200",
        note="missing masks and depth maps are None; splits are in `set_lists`",
    ),
    KnownSet(
        name="MVImgNet",
        kind="Objects",
        home="https://github.com/GAP-LAB-CUHK-SZ/MVImgNet",
        licence="MVImgNet Terms of Use",
        folder="MVImgNet",
        options={"layout": "{label}/{sample}/images/{view}"},
        files=[
            "0/0b00c2ab/images/{001,002}.jpg",
            "0/0b00c2ab/sparse/0/{cameras,images,points3D}.bin",
            "7/1a0020ee/images/{001,002}.jpg",
        ],
        example=["train 0/0b00c2ab: 001 002", "train 7/1a0020ee: 001 002"],
        images=[r"\d{1,3}/[0-9a-f]{8}/images/\d{3}\.jpg"],
        rows="219,188",
        views="about 30, 6.5 million in all",
        note="the 238 classes are numbers, named in `mvimgnet_category.txt`",
    ),
    KnownSet(
        name="Amazon Berkeley Objects, turntables",
        kind="Objects",
        home="https://amazon-berkeley-objects.s3.amazonaws.com/index.html",
        licence="CC BY-NC 4.0",
        folder="spins/original",
        options={"layout": "{*}/{sample}/{sample}_{view}"},
        files=["61/61b6ea09/61b6ea09_{00,01}.jpg", "0a/0a2d1f2c/0a2d1f2c_{00,01}.jpg"],
        example=["train 0a2d1f2c: 00 01", "train 61b6ea09: 00 01"],
        images=[r"(?P<begin>[0-9a-f]{2})/(?P<sample>(?P=begin)[0-9a-f]{6})/(?P=sample)_\d\d\.jpg"],
        rows="8,209",
        views="24 or 72",
        note="no classes in the names",
    ),
    KnownSet(
        name="CORe50",
        kind="Objects",
        home="https://vlomonaco.github.io/core50",
        licence="CC BY 4.0",
        folder="core50_128x128",
        options={"layout": "{sample}/{label}/{*}_{view}"},
        files=[
            "s1/o1/C_01_01_{000,001}.png",
            "s1/o2/C_01_02_{000,001}.png",
            "s2/o1/C_02_01_{000,001}.png",
        ],
        example=["train o1/s1: 000 001", "train o1/s2: 000 001", "train o2/s1: 000 001"],
        images=[r"s\d{1,2}/o\d{1,2}/C_\d\d_\d\d_\d{3}\.png"],
        rows="550, of 50 objects in 11 sessions",
        views="about 300, 164,866 in all",
    ),
    KnownSet(
        name="COIL-100",
        kind="Objects",
        home="https://www.cs.columbia.edu/CAVE/software/softlib/coil-100.php",
        folder="coil-100",
        options={"layout": "{sample}__{view}"},
        files=["obj{1,2,10}__{0,5}.png", "convertGroupppm2png.pl"],
        example=["train obj1: 0 5", "train obj2: 0 5", "train obj10: 0 5"],
        images=[r"obj\d{1,3}__\d{1,3}\.png"],
        rows="100",
        views="72 angles",
        note="the same line loads COIL-20 (coil-20-proc, 20 rows); an object is a sample, there are no classes",
    ),
    KnownSet(
        name="ALOI, viewing angles",
        kind="Objects",
        home="https://aloi.science.uva.nl",
        folder="aloi_red4_view",
        options={"layout": "{sample}/{sample}_r{view}"},
        files=["1/1_r{0,5}.png", "20/20_r{0,5}.png"],
        example=["train 1: 0 5", "train 20: 0 5"],
        images=[r"(?P<sample>\d{1,4})/(?P=sample)_r\d{1,3}\.png"],
        rows="1,000",
        views="72 angles",
        note="an object is a sample, there are no classes",
    ),
    KnownSet(
        name="YCB objects (Berkeley RGB-D)",
        kind="Objects",
        home="https://www.ycbbenchmarks.com",
        licence="CC BY 4.0",
        folder="berkeley_processed",
        options={"layout": {"images": "{sample}/{view}", "masks": "{sample}/masks/{view}_mask"}},
        files=[
            "006_mustard_bottle/NP1_{0,3}.{jpg,h5}",
            "006_mustard_bottle/masks/NP1_{0,3}_mask.pbm",
            "002_master_chef_can/NP{1,2}_0.jpg",
            "002_master_chef_can/masks/NP{1,2}_0_mask.pbm",
            "002_master_chef_can/calibration.h5",
        ],
        example=["train 002_master_chef_can: NP1_0 NP2_0", "train 006_mustard_bottle: NP1_0 NP1_3"],
        images=[
            r"\d{3}(-[a-z])?_[a-z_-]+/(NP?[1-5]_\d{1,3}\.jpg|masks/NP?[1-5]_\d{1,3}_mask\.pbm)"
        ],
        rows="one an object",
        views="600, of 5 cameras at 120 angles",
        note="depth maps are HDF5 files, which are skipped",
    ),
    KnownSet(
        name="Stanford Online Products",
        kind="Objects",
        home="https://cvgl.stanford.edu/projects/lifted_struct",
        folder="Stanford_Online_Products",
        options={"layout": "{label}_final/{sample}_{view}"},
        files=[
            "bicycle_final/111085122871_{0,1}.JPG",
            "coffee_maker_final/111204274386_{0,1}.JPG",
            "{Ebay_train,Ebay_test}.txt",
        ],
        example=["train bicycle/111085122871: 0 1", "train coffee_maker/111204274386: 0 1"],
        images=[r"[a-z_]+_final/\d{12}_\d{1,2}\.JPG"],
        rows="22,634",
        views="2 to 12, 120,053 in all",
        note="the splits are in `Ebay_train.txt` and `Ebay_test.txt`",
    ),
    KnownSet(
        name="Omniglot",
        kind="Objects",
        home="https://github.com/brendenlake/omniglot",
        licence="MIT",
        folder="omniglot/python",
        options={"layout": "{split}/{label}/{sample}/{*}_{view}"},
        files=[
            "images_background/Alphabet_of_the_Magi/character01/0709_{01,02}.png",
            "images_background/Alphabet_of_the_Magi/character02/0710_{01,02}.png",
            "images_evaluation/Angelic/character01/0965_{01,02}.png",
        ],
        example=[
            "images_background Alphabet_of_the_Magi/character01: 01 02",
            "images_background Alphabet_of_the_Magi/character02: 01 02",
            "images_evaluation Angelic/character01: 01 02",
        ],
        images=[r"images_(background|evaluation)/[A-Z][^/]+/character\d\d/\d{4}_\d\d\.png"],
        rows="964 background, 659 evaluation",
        views="20 hands",
        note="the class is the alphabet, a sample is a character",
    ),
    KnownSet(
        name="EPFL multi-view cars",
        kind="Objects",
        home="https://www.epfl.ch/labs/cvlab/data/data-pose-index-php",
        folder="epfl-gims08/tripod-seq",
        options={"layout": "tripod_seq_{sample}_{view}"},
        files=["tripod_seq_{01,02}_{001,002}.jpg"],
        example=["train 01: 001 002", "train 02: 001 002"],
        images=[r"tripod_seq_\d\d_\d{3}\.jpg"],
        rows="20",
        views="2,299 in all, every 3 to 4 degrees",
        note="a car is a sample, there are no classes",
    ),
    # --- people and vehicles ---
    KnownSet(
        name="Market-1501",
        kind="People and vehicles",
        home="https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
        folder="Market-1501-v15.09.15",
        options={"layout": "{split}/{label}_c{sample}s{view}"},
        files=[
            "bounding_box_train/0002_c1s1_{000451_03,000551_01}.jpg",
            "bounding_box_train/0002_c2s1_000776_01.jpg",
            "bounding_box_test/-1_c1s1_{000401_03,022176_02}.jpg",
            "query/0001_c5s1_001426_00.jpg",
            "gt_bbox/0001_c1s1_{001051_00,009376_00}.jpg",
            "gt_query/0001_c1s1_001051_00_good.mat",
        ],
        example=[
            "bounding_box_test -1/1: 1_000401_03 1_022176_02",
            "bounding_box_train 0002/1: 1_000451_03 1_000551_01",
            "bounding_box_train 0002/2: 1_000776_01",
            "gt_bbox 0001/1: 1_001051_00 1_009376_00",
            "query 0001/5: 1_001426_00",
        ],
        images=[
            r"(bounding_box_train|bounding_box_test|query|gt_bbox)/(-1|\d{4})_c\ds\d_\d{6}_\d\d\.jpg"
        ],
        rows="one a person and camera, 751 persons to train",
        views="12,936 train, 19,732 test, 3,368 query",
        note="-1 and 0000 are the distractors of the test images",
    ),
    KnownSet(
        name="MARS",
        kind="People and vehicles",
        home="https://zheng-lab.cecs.anu.edu.au/Project/project_mars.html",
        folder="MARS",
        options={"layout": "{split}/{label}/{sample}F{view}"},
        files=[
            "bbox_train/0001/0001C1T0001F{001,002,010}.jpg",
            "bbox_train/0001/0001C2T0001F{001,002}.jpg",
            "bbox_test/00-1/00-1C1T0001F{001,002}.jpg",
        ],
        example=[
            "bbox_test 00-1/00-1C1T0001: 001 002",
            "bbox_train 0001/0001C1T0001: 001 002 010",
            "bbox_train 0001/0001C2T0001: 001 002",
        ],
        images=[r"bbox_(train|test)/(?P<person>\d{4}|00-1)/(?P=person)C\dT\d{4}F\d{3}\.jpg"],
        rows="8,298 train, one a tracklet",
        views="2 to 920; 509,914 train, 681,089 test",
        note="00-1 and 0000 are junk and distractors",
    ),
    KnownSet(
        name="VeRi-776",
        kind="People and vehicles",
        home="https://github.com/VehicleReId/VeRidataset",
        licence="research, not commercial, by request",
        folder="VeRi",
        options={"layout": "{split}/{label}_c{sample}_{view}_{*}"},
        files=[
            "image_train/0001_c001_{00016450,00016460}_0.jpg",
            "image_test/0002_c002_{00030600_0,00030605_1}.jpg",
            "image_query/0002_c002_00030600_0.jpg",
            "name_train.txt",
        ],
        example=[
            "image_query 0002/002: 00030600",
            "image_test 0002/002: 00030600 00030605",
            "image_train 0001/001: 00016450 00016460",
        ],
        images=[r"image_(train|test|query)/\d{4}_c\d{3}_\d{8}_\d+\.jpg"],
        rows="one a vehicle and camera, 576 vehicles to train",
        views="37,778 train, 11,579 test, 1,678 query",
    ),
    KnownSet(
        name="iLIDS-VID",
        kind="People and vehicles",
        home="https://xiatian-zhu.github.io/downloads_qmul_iLIDS-VID_ReID_dataset.html",
        folder="i-LIDS-VID/sequences",
        options={"layout": "{sample}/{label}/{sample}_{label}_{view}"},
        files=[
            "cam1/person001/cam1_person001_{00317,00318}.png",
            "cam2/person001/cam2_person001_{08050,08051}.png",
        ],
        example=["train person001/cam1: 00317 00318", "train person001/cam2: 08050 08051"],
        images=[r"(?P<camera>cam[12])/(?P<person>person\d{3})/(?P=camera)_(?P=person)_\d{5}\.png"],
        rows="600, of 300 persons before 2 cameras",
        views="23 to 192",
    ),
    KnownSet(
        name="YouTube Faces",
        kind="People and vehicles",
        home="https://www.cs.tau.ac.il/~wolf/ytfaces",
        folder="YouTubeFaces/frame_images_DB",
        options={"layout": "{label}/{sample}/{sample}.{view}"},
        files=[
            "Aaron_Eckhart/0/0.{555,556}.jpg",
            "Alicia_Witt/5/5.{2247,2248}.jpg",
            "Aaron_Eckhart.labeled_faces.txt",
        ],
        example=["train Aaron_Eckhart/0: 555 556", "train Alicia_Witt/5: 2247 2248"],
        images=[r"[^/]+/(?P<sample>\d)/(?P=sample)\.\d{1,4}\.jpg"],
        rows="3,425 videos of 1,595 persons",
        views="48 to 6,070, 181 on average",
    ),
    KnownSet(
        name="Extended Yale B, cropped",
        kind="People and vehicles",
        home="http://vision.ucsd.edu/~leekc/ExtYaleDatabase/ExtYaleB.html",
        licence="research, with acknowledgement",
        folder="CroppedYale",
        options={"layout": "{sample}/{sample}_{view}"},
        files=[
            "yaleB01/yaleB01_{P00_Ambient,P00A+000E+00}.pgm",
            "yaleB02/yaleB02_{P00_Ambient,P00A+000E+00}.pgm",
            "yaleB01/yaleB01_P00.info",
        ],
        example=[
            "train yaleB01: P00_Ambient P00A+000E+00",
            "train yaleB02: P00_Ambient P00A+000E+00",
        ],
        images=[r"(?P<sample>yaleB\d\d)/(?P=sample)_P00(_Ambient|A[+-]\d{3}E[+-]\d\d)\.pgm"],
        rows="38",
        views="65 lights, a few missing",
        note="a person is a sample, there are no classes",
    ),
    KnownSet(
        name="CASIA-B gait, silhouettes",
        kind="People and vehicles",
        home="http://www.cbsr.ia.ac.cn/english/Gait%20Databases.asp",
        folder="GaitDatasetB-silh",
        options={"layout": "{label}/{sample}/{view_label}/{label}-{sample}-{view_label}-{view}"},
        files=[
            "001/bg-01/000/001-bg-01-000-{001,002}.png",
            "001/bg-01/018/001-bg-01-018-{001,002}.png",
            "002/nm-01/000/002-nm-01-000-001.png",
        ],
        example=["train 001/bg-01: 000/001 000/002 018/001 018/002", "train 002/nm-01: 000/001"],
        images=[r"\d{3}/(bg|cl|nm)-\d\d/\d{3}/\d{3}-(bg|cl|nm)-\d\d-\d{3}-\d{3}\.png"],
        rows="1,240, of 124 persons in 10 walks",
        views="the frames of 11 angles; `view_label` is the angle",
        note="unpack the archive of each person",
    ),
    KnownSet(
        name="SOCOFing, fingerprints",
        kind="People and vehicles",
        home="https://www.kaggle.com/datasets/ruizgara/socofing",
        licence="CC BY-NC-SA 4.0",
        folder="SOCOFing/Real",
        options={"layout": "{sample}__{label}_{view_label}_{view}_finger"},
        files=[
            "100__M_Left_{index,thumb}_finger.BMP",
            "100__M_Right_index_finger.BMP",
            "101__F_Left_index_finger.BMP",
        ],
        example=["train F/101: Left/index", "train M/100: Left/index Left/thumb Right/index"],
        images=[r"\d{1,3}__[FM]_(Left|Right)_(index|little|middle|ring|thumb)_finger\.BMP"],
        rows="600",
        views="10 fingers",
        note="the class is the sex",
    ),
    KnownSet(
        name="FVC 2000, 2002, 2004, set B",
        kind="People and vehicles",
        home="http://bias.csr.unibo.it/fvc2004",
        folder="FVC2004",
        options={"layout": "{label}/{sample}_{view}"},
        files=["{DB1_B,DB2_B}/{101,102}_{1,2}.tif"],
        example=[
            "train DB1_B/101: 1 2",
            "train DB1_B/102: 1 2",
            "train DB2_B/101: 1 2",
            "train DB2_B/102: 1 2",
        ],
        images=[r"DB[1-4]_B/1\d\d_[1-8]\.tif"],
        rows="40, of 10 fingers on 4 sensors",
        views="8",
        note="the class is the sensor",
    ),
    KnownSet(
        name="Hand gestures of a Leap Motion (leapGestRecog)",
        kind="People and vehicles",
        home="https://www.kaggle.com/datasets/gti-upm/leapgestrecog",
        licence="CC BY-NC-SA 4.0",
        folder="leapGestRecog",
        options={"layout": "{sample}/{label}/frame_{*}_{view}"},
        files=[
            "00/01_palm/frame_00_01_{0001,0002}.png",
            "00/02_l/frame_00_02_0001.png",
            "01/01_palm/frame_01_01_{0001,0002}.png",
        ],
        example=[
            "train 01_palm/00: 0001 0002",
            "train 01_palm/01: 0001 0002",
            "train 02_l/00: 0001",
        ],
        images=[
            r"(?P<person>0\d)/(?P<number>\d\d)_[a-z_]+/frame_(?P=person)_(?P=number)_\d{4}\.png"
        ],
        rows="100, of 10 persons in 10 gestures",
        views="200 frames",
    ),
    # --- scenes, stereo, light ---
    KnownSet(
        name="DTU, as MVSNet has it",
        kind="Scenes, stereo, light",
        home="https://roboimagedata.compute.dtu.dk",
        folder="dtu/Rectified",
        options={"layout": "{sample}/rect_{view}_{view_label}_r5000"},
        files=["{scan1,scan10}_train/rect_{001,002}_{0,3}_r5000.png"],
        example=[
            "train scan1_train: 0/001 0/002 3/001 3/002",
            "train scan10_train: 0/001 0/002 3/001 3/002",
        ],
        images=[r"scan\d{1,3}(_train)?/rect_\d{3}_[0-6]_r5000\.png"],
        rows="one a scan",
        views="49 positions; `view_label` is one of 7 lights",
        note="no classes; depth maps (.pfm) and cameras are in other folders",
    ),
    KnownSet(
        name="BlendedMVS",
        kind="Scenes, stereo, light",
        home="https://github.com/YoYo000/BlendedMVS",
        licence="CC BY 4.0",
        folder="dataset_low_res",
        options={
            "layout": {
                "images": "{sample}/blended_images/{view}",
                "masked": "{sample}/blended_images/{view}_masked",
            }
        },
        files=[
            "5a3ca9cb270f0e3f14d0eddb/blended_images/{00000000,00000001}.jpg",
            "5a3ca9cb270f0e3f14d0eddb/blended_images/{00000000,00000001}_masked.jpg",
            "5a3ca9cb270f0e3f14d0eddb/cams/00000000_cam.txt",
            "5aa0f9d7a9efce63548c69a1/blended_images/00000008.jpg",
            "5aa0f9d7a9efce63548c69a1/blended_images/00000008_masked.jpg",
        ],
        example=[
            "train 5a3ca9cb270f0e3f14d0eddb: 00000000 00000001",
            "train 5aa0f9d7a9efce63548c69a1: 00000008",
        ],
        images=[
            r"[0-9a-f]{20,24}/(blended_images/\d{8}(_masked)?\.jpg|rendered_depth_maps/\d{8}\.pfm)"
        ],
        rows="113",
        views="17,000 and more in all",
        note="no classes; depth maps (.pfm) are skipped",
    ),
    KnownSet(
        name="HPatches, sequences",
        kind="Scenes, stereo, light",
        home="https://github.com/hpatches/hpatches-dataset",
        licence="MIT",
        folder="hpatches-sequences-release",
        options={"layout": "{label}_{sample}/{view}"},
        files=["{i_ajuntament,v_woman}/{1,2,6}.ppm", "{i_ajuntament,v_woman}/{H_1_2,H_1_6}"],
        example=["train i/ajuntament: 1 2 6", "train v/woman: 1 2 6"],
        images=[r"[iv]_[a-z]+/[1-6]\.ppm"],
        rows="116",
        views="6",
        note="the class is what changes: i for the illumination, v for the viewpoint",
    ),
    KnownSet(
        name="7-Scenes",
        kind="Scenes, stereo, light",
        home="https://www.microsoft.com/en-us/research/project/rgb-d-dataset-7-scenes",
        licence="Microsoft Research, not commercial",
        folder="7scenes",
        options={
            "layout": {
                "images": "{label}/{sample}/{view}.color",
                "depth": "{label}/{sample}/{view}.depth",
            }
        },
        files=[
            "chess/{seq-01,seq-02}/frame-{000000,000001}.{color,depth}.png",
            "chess/seq-01/frame-{000000,000001}.pose.txt",
            "fire/seq-01/frame-{000000,000001}.{color,depth}.png",
        ],
        example=[
            "train chess/seq-01: frame-000000 frame-000001",
            "train chess/seq-02: frame-000000 frame-000001",
            "train fire/seq-01: frame-000000 frame-000001",
        ],
        images=[
            r"(?P<scene>chess|fire|heads|office|pumpkin|redkitchen|stairs)/(seq-\d\d/frame-\d{6}\.(color|depth)|(?P=scene))\.png"
        ],
        rows="46",
        views="500 or 1,000 frames",
        note="unpack the archive of each sequence; remove pictures beside the sequences, such as chess/chess.png; the split is in TrainSplit.txt",
    ),
    KnownSet(
        name="Cityscapes, stereo pairs",
        kind="Scenes, stereo, light",
        home="https://www.cityscapes-dataset.com",
        licence="its own: research, not commercial",
        folder="cityscapes",
        options={"layout": "{view}Img8bit/{split}/{label}/{sample}_{view}Img8bit"},
        files=[
            "leftImg8bit/train/aachen/aachen_{000000,000001}_000019_leftImg8bit.png",
            "rightImg8bit/train/aachen/aachen_{000000,000001}_000019_rightImg8bit.png",
            "leftImg8bit/val/frankfurt/frankfurt_000001_007407_leftImg8bit.png",
            "rightImg8bit/val/frankfurt/frankfurt_000001_007407_rightImg8bit.png",
            "{license,README}.txt",
        ],
        example=[
            "train aachen/aachen_000000_000019: left right",
            "train aachen/aachen_000001_000019: left right",
            "validation frankfurt/frankfurt_000001_007407: left right",
        ],
        images=[
            r"(?P<side>left|right)Img8bit/(train|val|test)/(?P<city>[a-z-]+)/(?P=city)_\d{6}_\d{6}_(?P=side)Img8bit\.png"
        ],
        rows="2,975 train, 500 val, 1,525 test",
        views="2",
        note="the class is the city",
    ),
    KnownSet(
        name="KITTI 2015, stereo and flow",
        kind="Scenes, stereo, light",
        home="https://www.cvlibs.net/datasets/kitti/eval_scene_flow.php",
        licence="CC BY-NC-SA 3.0",
        folder="data_scene_flow",
        options={"layout": "{split}/image_{view_label}/{sample}_{view}"},
        files=[
            "{training,testing}/{image_2,image_3}/{000000,000001}_{10,11}.png",
            "training/disp_occ_0/{000000,000001}_10.png",
        ],
        example=[
            "train 000000: 2/10 2/11 3/10 3/11",
            "train 000001: 2/10 2/11 3/10 3/11",
            "test 000000: 2/10 2/11 3/10 3/11",
            "test 000001: 2/10 2/11 3/10 3/11",
        ],
        images=[
            r"(training|testing)/(image_[23]|disp_(noc|occ)_[01]|flow_(noc|occ)|obj_map|viz_flow_occ|viz_flow_occ_dilate_1)/\d{6}_1[01]\.png"
        ],
        rows="200 training, 200 testing",
        views="4, of 2 cameras at 2 moments",
        note="no classes; the maps of disparity and flow are skipped",
    ),
    KnownSet(
        name="MPI Sintel",
        kind="Scenes, stereo, light",
        home="http://sintel.is.tue.mpg.de",
        folder="MPI-Sintel-complete",
        options={
            "layout": {
                "images": "{split}/final/{sample}/{view}",
                "clean": "{split}/clean/{sample}/{view}",
            }
        },
        files=[
            "training/{clean,final}/alley_1/frame_{0001,0002}.png",
            "training/albedo/alley_1/frame_{0001,0002}.png",
            "training/occlusions/alley_1/frame_0001.png",
            "training/flow/alley_1/frame_0001.flo",
            "test/{clean,final}/PERTURBED_market_3/frame_{0001,0002}.png",
        ],
        example=[
            "train alley_1: frame_0001 frame_0002",
            "test PERTURBED_market_3: frame_0001 frame_0002",
        ],
        images=[
            r"(training|test)/(clean|final|albedo|flow_viz|invalid|occlusions)/[A-Za-z]+(_[a-z]+)?(_\d)?/frame_\d{4}\.png"
        ],
        rows="23 training, 12 test",
        views="20 to 50 frames, 1,064 training",
        note="no classes; albedo, occlusions and flow are skipped",
    ),
    KnownSet(
        name="DAVIS 2017",
        kind="Scenes, stereo, light",
        home="https://davischallenge.org",
        folder="DAVIS",
        options={
            "layout": {
                "images": "JPEGImages/480p/{sample}/{view}",
                "masks": "Annotations/480p/{sample}/{view}",
            }
        },
        files=[
            "JPEGImages/480p/{bear,bmx-bumps}/{00000,00001}.jpg",
            "Annotations/480p/{bear,bmx-bumps}/{00000,00001}.png",
            "ImageSets/2017/{train,val}.txt",
        ],
        example=["train bear: 00000 00001", "train bmx-bumps: 00000 00001"],
        images=[r"(JPEGImages|Annotations)/480p/[a-z0-9-]+/\d{5}\.(jpg|png)"],
        rows="90",
        views="25 to 104 frames",
        note="no classes; the split is in ImageSets",
    ),
    KnownSet(
        name="GoPro deblurring (GOPRO_Large)",
        kind="Scenes, stereo, light",
        home="https://seungjunnah.github.io/Datasets/gopro",
        licence="CC BY 4.0",
        folder="GOPRO_Large",
        options={
            "layout": {
                "images": "{split}/{sample}/blur/{view}",
                "blur_gamma": "{split}/{sample}/blur_gamma/{view}",
                "sharp": "{split}/{sample}/sharp/{view}",
            }
        },
        files=[
            "train/GOPR0372_07_00/{blur,blur_gamma,sharp}/{000047,000048}.png",
            "test/GOPR0384_11_00/{blur,blur_gamma,sharp}/{000001,000002}.png",
        ],
        example=["train GOPR0372_07_00: 000047 000048", "test GOPR0384_11_00: 000001 000002"],
        images=[r"(train|test)/GOPR\d{4}_\d\d_\d\d/(blur|blur_gamma|sharp)/\d{6}\.png"],
        rows="22 train, 11 test",
        views="2,103 train, 1,111 test",
        note="no classes",
    ),
    KnownSet(
        name="Multi-Illumination Images in the Wild",
        kind="Scenes, stereo, light",
        home="https://projects.csail.mit.edu/illumination",
        licence="CC BY 4.0",
        folder="multi_illumination_train_mip2_jpg",
        options={"layout": "{sample}/dir_{view}_mip2"},
        files=[
            "14n_copyroom1/dir_{0,2,10}_mip2.jpg",
            "14n_copyroom1/probes/dir_{0,2,10}_{chrome,gray}256.jpg",
            "14n_copyroom1/materials_mip2.png",
            "14n_copyroom1/meta.json",
            "everett_kitchen2/dir_{0,2}_mip2.jpg",
        ],
        example=["train 14n_copyroom1: 0 2 10", "train everett_kitchen2: 0 2"],
        images=[
            r"[a-z0-9_]+/(dir_\d{1,2}_mip2\.jpg|probes/dir_\d{1,2}_(chrome|gray)256\.jpg|materials_mip2\.png|thumb\.jpg)"
        ],
        rows="985 train, 30 test",
        views="25 lights",
        note="one archive per split, no classes; the probes are skipped",
    ),
    KnownSet(
        name="4D Light Field Benchmark (HCI)",
        kind="Scenes, stereo, light",
        home="https://lightfield-analysis.uni-konstanz.de",
        licence="CC BY-NC-SA 4.0",
        folder="full_data",
        options={"layout": "{label}/{sample}/input_Cam{view}"},
        files=[
            "training/boxes/input_Cam{000,001,080}.png",
            "additional/antinous/input_Cam{000,001,080}.png",
            "additional/antinous/gt_disp_lowres.pfm",
            "additional/antinous/parameters.cfg",
        ],
        example=["train additional/antinous: 000 001 080", "train training/boxes: 000 001 080"],
        images=[
            r"(additional|stratified|training|test)/[a-z]+/(input_Cam\d{3}|valid_mask|(gt|mask|objectids)_[a-z_]+)\.(pfm|png)"
        ],
        rows="28",
        views="81",
        note="the class is the group of scenes; disparities (.pfm) are skipped",
    ),
    KnownSet(
        name="DiLiGenT",
        kind="Scenes, stereo, light",
        home="https://sites.google.com/site/photometricstereodata/single",
        folder="DiLiGenT/pmsData",
        options={
            "layout": {
                "images": "{sample}PNG/{view}",
                "mask": "{sample}PNG/mask",
                "normals": "{sample}PNG/Normal_gt",
            }
        },
        files=[
            "{ball,cat}PNG/{001,002,096}.png",
            "{ball,cat}PNG/{mask,Normal_gt}.png",
            "{ball,cat}PNG/{filenames,light_directions,light_intensities}.txt",
        ],
        example=["train ball: 001 002 096", "train cat: 001 002 096"],
        images=[
            r"(ball|bear|buddha|cat|cow|goblet|harvest|pot1|pot2|reading)PNG/(\d{3}|mask|Normal_gt)\.png"
        ],
        rows="10",
        views="96 lights",
        note="no classes; a mask and a map of normals for each object",
    ),
    KnownSet(
        name="KTH-TIPS2-b",
        kind="Scenes, stereo, light",
        home="https://www.csc.kth.se/cvap/databases/kth-tips",
        folder="KTH-TIPS2-b",
        options={"layout": "{label}/sample_{sample}/{*}-scale_{view}_col"},
        files=[
            "wool/sample_a/22a-scale_{3_im_3,10_im_10}_col.png",
            "cracker/sample_b/60b-scale_{6_im_1,6_im_10}_col.png",
        ],
        example=["train cracker/b: 6_im_1 6_im_10", "train wool/a: 3_im_3 10_im_10"],
        images=[
            r"[a-z_]+/sample_(?P<letter>[a-d])/\d\d(?P=letter)-scale_\d{1,2}_im_\d{1,2}_col\.png"
        ],
        rows="44, of 11 materials",
        views="108, of 9 scales in 12 lights and poses",
    ),
    KnownSet(
        name="NeRF synthetic (Blender)",
        kind="Scenes, stereo, light",
        home="https://www.matthewtancik.com/nerf",
        licence="by scene, see its README",
        folder="nerf_synthetic",
        options={
            "layout": {
                "images": "{sample}/{split}/r_{view}",
                "depth": "{sample}/{split}/r_{view}_depth_0001",
                "normals": "{sample}/{split}/r_{view}_normal_0001",
            },
            "on_missing_view": "null",
        },
        files=[
            "lego/train/r_{0,2,10}.png",
            "lego/val/r_{0,2}.png",
            "lego/test/r_{0,2}{,_depth_0001,_normal_0001}.png",
            "lego/transforms_{train,val,test}.json",
        ],
        example=["train lego: 0 2 10", "validation lego: 0 2", "test lego: 0 2"],
        images=[
            r"(chair|drums|ficus|hotdog|lego|materials|mic|ship)/(train|val|test)/r_\d{1,3}(_(depth|normal)_\d{4})?\.png"
        ],
        rows="8 train, 8 val, 8 test",
        views="100, 100, 200",
        note="no classes; only test has depth and normals, which are None elsewhere",
    ),
    # --- from above ---
    KnownSet(
        name="BigEarthNet-S2",
        kind="From above",
        home="https://bigearth.net",
        licence="CDLA-Permissive-1.0",
        folder="BigEarthNet-v1.0",
        options={"layout": "{sample}/{sample}_{view}"},
        files=[
            "S2A_MSIL2A_20170613T101031_0_49/S2A_MSIL2A_20170613T101031_0_49_{B01,B02,B8A}.tif",
            "S2A_MSIL2A_20170613T101031_0_49/S2A_MSIL2A_20170613T101031_0_49_labels_metadata.json",
            "S2A_MSIL2A_20170613T101031_87_48/S2A_MSIL2A_20170613T101031_87_48_{B01,B02,B8A}.tif",
        ],
        example=[
            "train S2A_MSIL2A_20170613T101031_0_49: B01 B02 B8A",
            "train S2A_MSIL2A_20170613T101031_87_48: B01 B02 B8A",
        ],
        images=[
            r"(?P<sample>S2[AB]_MSIL2A_\d{8}T\d{6}_\d{1,2}_\d{1,2})/(?P=sample)_B(0[1-9]|8A|1[12])\.tif"
        ],
        rows="590,326",
        views="12 bands",
        note="several labels per patch, in its `_labels_metadata.json`",
    ),
    KnownSet(
        name="BigEarthNet-S2 v2 (reBEN)",
        kind="From above",
        home="https://bigearth.net",
        licence="CDLA-Permissive-1.0",
        folder="BigEarthNet-S2",
        options={"layout": "{*}/{sample}/{sample}_{view}"},
        files=[
            "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP/S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57/S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57_{B01,B02,B8A}.tif",
            "S2A_MSIL2A_20170613T101031_N9999_R022_T34VER/S2A_MSIL2A_20170613T101031_N9999_R022_T34VER_00_00/S2A_MSIL2A_20170613T101031_N9999_R022_T34VER_00_00_{B01,B02,B8A}.tif",
        ],
        example=[
            "train S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57: B01 B02 B8A",
            "train S2A_MSIL2A_20170613T101031_N9999_R022_T34VER_00_00: B01 B02 B8A",
        ],
        images=[
            r"(?P<tile>S2[AB]_MSIL2A_\d{8}T\d{6}_N\d{4}_R\d{3}_T\w{5})/(?P<sample>(?P=tile)_\d\d_\d\d)/(?P=sample)_B(0[1-9]|8A|1[12])\.tif"
        ],
        rows="549,488",
        views="12 bands",
        note="several labels per patch, in a `metadata.parquet` of another form: keep it out of this folder",
    ),
    KnownSet(
        name="LEVIR-CD",
        kind="From above",
        home="https://justchenhao.github.io/LEVIR",
        licence="academic, not commercial",
        folder="LEVIR-CD",
        options={
            "layout": {"images": "{split}/{view}/{sample}", "change": "{split}/label/{sample}"}
        },
        files=[
            "train/{A,B,label}/train_{1,2}.png",
            "val/{A,B,label}/val_1.png",
            "test/{A,B,label}/test_1.png",
        ],
        example=[
            "train train_1: A B",
            "train train_2: A B",
            "validation val_1: A B",
            "test test_1: A B",
        ],
        images=[r"(?P<split>train|val|test)/(A|B|label)/(?P=split)_\d{1,3}\.png"],
        rows="445 train, 64 val, 128 test",
        views="2 moments",
        note="no classes; a map of the changes for each pair",
    ),
    KnownSet(
        name="Onera Satellite Change Detection (OSCD)",
        kind="From above",
        home="https://rcdaudt.github.io/oscd",
        folder="Onera Satellite Change Detection dataset - Images",
        options={"layout": "{sample}/pair/{view}"},
        files=[
            "{abudhabi,saclay_e}/pair/{img1,img2}.png",
            "{abudhabi,saclay_e}/{imgs_1_rect,imgs_2_rect}/{B01,B8A}.tif",
            "{train,test}.txt",
        ],
        example=["train abudhabi: img1 img2", "train saclay_e: img1 img2"],
        images=[r"[a-z_]+/(pair/img[12]\.png|imgs_[12](_rect)?/\w+\.tif)"],
        rows="24",
        views="2 moments",
        note='no classes; for the 13 bands of each moment use `layout="{sample}/imgs_{view_label}_rect/{view}"`',
    ),
    KnownSet(
        name="xBD (xView2)",
        kind="From above",
        home="https://xview2.org",
        licence="CC BY-NC-SA 4.0",
        folder="xbd",
        options={
            "layout": {
                "images": "{split}/images/{label}_{sample}_{view}_disaster",
                "masks": "{split}/targets/{label}_{sample}_{view}_disaster_target",
            }
        },
        files=[
            "train/images/guatemala-volcano_{00000000,00000003}_{pre,post}_disaster.png",
            "train/targets/guatemala-volcano_{00000000,00000003}_{pre,post}_disaster_target.png",
            "train/labels/guatemala-volcano_00000000_{pre,post}_disaster.json",
            "test/images/hurricane-harvey_00000006_{pre,post}_disaster.png",
            "test/targets/hurricane-harvey_00000006_{pre,post}_disaster_target.png",
        ],
        example=[
            "train guatemala-volcano/00000000: post pre",
            "train guatemala-volcano/00000003: post pre",
            "test hurricane-harvey/00000006: post pre",
        ],
        images=[
            r"(train|tier3|test|hold)/(images|targets)/[a-z-]+_\d{8}_(pre|post)_disaster(_target)?\.png"
        ],
        rows="2,799 train, 6,369 tier3, 933 test, 933 hold",
        views="2 moments",
        note="the class is the disaster",
    ),
    KnownSet(
        name="Functional Map of the World (fMoW-rgb)",
        kind="From above",
        home="https://github.com/fMoW/dataset",
        licence="Functional Map of the World Challenge Public License",
        folder="fMoW-rgb",
        options={"layout": "{split}/{label}/{sample}/{sample}_{view}"},
        files=[
            "train/airport/airport_0/airport_0_{0,1}_{rgb,msrgb}.jpg",
            "train/airport/airport_0/airport_0_{0,1}_{rgb,msrgb}.json",
            "val/crop_field/crop_field_12/crop_field_12_{0,1}_rgb.jpg",
        ],
        example=[
            "train airport/airport_0: 0_msrgb 0_rgb 1_msrgb 1_rgb",
            "validation crop_field/crop_field_12: 0_rgb 1_rgb",
        ],
        images=[
            r"(train|val|test|seq)/(?P<label>[a-z_-]+)/(?P<sample>(?P=label)_\d+)/(?P=sample)_\d+_(ms)?rgb\.jpg"
        ],
        rows="one a place, 63 classes",
        views="1 to 41 moments, in two resolutions",
    ),
    # --- medicine and biology ---
    KnownSet(
        name="BreakHis",
        kind="Medicine and biology",
        home="https://web.inf.ufpr.br/vri/databases/breast-cancer-histopathological-database-breakhis",
        folder="BreaKHis_v1/histology_slides/breast",
        options={"layout": "{*}/SOB/{label}/{sample}/{view_label}/{*}-{view}"},
        files=[
            "benign/SOB/adenosis/SOB_B_A_14-22549AB/40X/SOB_B_A-14-22549AB-40-{001,002}.png",
            "benign/SOB/adenosis/SOB_B_A_14-22549AB/100X/SOB_B_A-14-22549AB-100-001.png",
            "malignant/SOB/ductal_carcinoma/SOB_M_DC_14-10926/40X/SOB_M_DC-14-10926-40-{001,002}.png",
        ],
        example=[
            "train adenosis/SOB_B_A_14-22549AB: 40X/001 40X/002 100X/001",
            "train ductal_carcinoma/SOB_M_DC_14-10926: 40X/001 40X/002",
        ],
        images=[
            r"(benign|malignant)/SOB/[a-z_]+/SOB_[BM]_[A-Z]+_[^/]+/\d{2,3}X/SOB_[^/]+-\d{3}\.png"
        ],
        rows="82",
        views="7,909 in all; `view_label` is the magnification",
        note="the classes are the 8 subtypes; `class_names` can make them benign and malignant",
    ),
    KnownSet(
        name="DeepLesion",
        kind="Medicine and biology",
        home="https://nihcc.app.box.com/v/DeepLesion",
        folder="Images_png",
        options={"layout": "{sample}/{view}"},
        files=["000001_{01_01,03_01}/{087,088,103}.png"],
        example=["train 000001_01_01: 087 088 103", "train 000001_03_01: 087 088 103"],
        images=[r"\d{6}_\d\d_\d\d/\d{3}\.png"],
        rows="one a series",
        views="the slices around a lesion, 16 bits",
        note="no classes; `DL_info.csv` has the lesions of 32,120 key slices",
    ),
    KnownSet(
        name="Brain MRI segmentation (LGG, kaggle_3m)",
        kind="Medicine and biology",
        home="https://www.kaggle.com/datasets/mateuszbuda/lgg-mri-segmentation",
        licence="CC BY-NC-SA 4.0",
        folder="kaggle_3m",
        options={
            "layout": {
                "images": "{sample}/{sample}_{view}",
                "masks": "{sample}/{sample}_{view}_mask",
            }
        },
        files=[
            "TCGA_CS_4941_19960909/TCGA_CS_4941_19960909_{1,2,11}{,_mask}.tif",
            "TCGA_HT_A61B_19991127/TCGA_HT_A61B_19991127_{1,35}{,_mask}.tif",
            "{README.md,data.csv}",
        ],
        example=["train TCGA_CS_4941_19960909: 1 2 11", "train TCGA_HT_A61B_19991127: 1 35"],
        images=[r"(?P<sample>TCGA_[A-Z]{2}_\w{4}_\d{8})/(?P=sample)_\d{1,2}(_mask)?\.tif"],
        rows="110",
        views="20 to 88 slices, 3,929 in all",
        note="no classes; one row per patient",
    ),
    KnownSet(
        name="OCT2017 (Kermany)",
        kind="Medicine and biology",
        home="https://data.mendeley.com/datasets/rscbjbr9sj",
        licence="CC BY 4.0",
        folder="OCT2017",
        options={"layout": "{split}/{label}/{label}-{sample}-{view}"},
        files=["{train,test}/CNV/CNV-1016042-{1,2,10}.jpeg", "train/NORMAL/NORMAL-1017237-1.jpeg"],
        example=[
            "train CNV/1016042: 1 2 10",
            "train NORMAL/1017237: 1",
            "test CNV/1016042: 1 2 10",
        ],
        images=[r"(train|test|val)/(?P<label>CNV|DME|DRUSEN|NORMAL)/(?P=label)-\d+-\d+\.jpeg"],
        rows="one a patient and class",
        views="84,495 in all, with val",
    ),
    KnownSet(
        name="MURA",
        kind="Medicine and biology",
        home="https://stanfordmlgroup.github.io/competitions/mura",
        licence="Stanford's research use agreement",
        folder="MURA-v1.1",
        options={"layout": "{split}/{label}/{sample}/{view_label}/{view}"},
        files=[
            "train/XR_SHOULDER/patient00001/study1_positive/{image1,image2,image3}.png",
            "train/XR_ELBOW/patient00011/study1_negative/image1.png",
            "valid/XR_WRIST/patient11185/{study1_positive,study2_negative}/image1.png",
            "train_image_paths.csv",
        ],
        example=[
            "train XR_ELBOW/patient00011: study1_negative/image1",
            "train XR_SHOULDER/patient00001: study1_positive/image1 study1_positive/image2 study1_positive/image3",
            "validation XR_WRIST/patient11185: study1_positive/image1 study2_negative/image1",
        ],
        images=[
            r"(train|valid)/XR_[A-Z]+/patient\d{5}/study\d_(positive|negative)/image\d{1,2}\.png"
        ],
        rows="one a patient and body part",
        views="40,005 in all; `view_label` is the study with its finding",
    ),
    KnownSet(
        name="ODIR-5K",
        kind="Medicine and biology",
        home="https://odir2019.grand-challenge.org",
        folder="ODIR-5K",
        options={
            "layout": "{split}/{sample}_{view}",
            "split_names": {"Training Images": "train", "Testing Images": "test"},
        },
        files=[
            "Training Images/{0,1}_{left,right}.jpg",
            "Testing Images/937_{left,right}.jpg",
            "data.xlsx",
        ],
        example=["train 0: left right", "train 1: left right", "test 937: left right"],
        images=[r"(Training|Testing) Images/\d{1,4}_(left|right)\.jpg"],
        rows="3,500 train, 500 test",
        views="2 eyes",
        note="the diagnoses are in a table: put them into a `metadata.csv`",
    ),
    KnownSet(
        name="Human Protein Atlas (Kaggle 2018)",
        kind="Medicine and biology",
        home="https://www.kaggle.com/c/human-protein-atlas-image-classification",
        licence="rules of the competition",
        folder="human-protein-atlas-image-classification",
        options={"layout": "{split}/{sample}_{view}"},
        files=[
            "train/00070df0-bbc3-11e8-b2bc-ac1f6b6435d0_{blue,green,red,yellow}.png",
            "train/000a6c98-bb9b-11e8-b2b9-ac1f6b6435d0_{blue,green,red,yellow}.png",
            "test/00008af0-bad0-11e8-b2b8-ac1f6b6435d0_{blue,green,red,yellow}.png",
            "train.csv",
        ],
        example=[
            "train 000a6c98-bb9b-11e8-b2b9-ac1f6b6435d0: blue green red yellow",
            "train 00070df0-bbc3-11e8-b2bc-ac1f6b6435d0: blue green red yellow",
            "test 00008af0-bad0-11e8-b2b8-ac1f6b6435d0: blue green red yellow",
        ],
        images=[
            r"(train|test)/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}_(blue|green|red|yellow)\.png"
        ],
        rows="31,072 train, 11,702 test",
        views="4 stains",
        note="several labels per sample, in `train.csv`",
    ),
    # --- videos as frames, domains, corruptions ---
    KnownSet(
        name="UCF-101, frames",
        kind="Videos as frames, domains, corruptions",
        home="https://github.com/feichtenhofer/twostreamfusion",
        folder="jpegs_256",
        options={"layout": "v_{label}_g{sample}/{view}"},
        files=["v_{ApplyEyeMakeup,BasketballDunk}_g01_{c01,c02}/frame{000001,000002}.jpg"],
        example=[
            "train ApplyEyeMakeup/01_c01: frame000001 frame000002",
            "train ApplyEyeMakeup/01_c02: frame000001 frame000002",
            "train BasketballDunk/01_c01: frame000001 frame000002",
            "train BasketballDunk/01_c02: frame000001 frame000002",
        ],
        images=[r"v_[A-Za-z]+_g\d\d_c\d\d/frame\d{6}\.jpg"],
        rows="13,320",
        views="all frames of a video",
        note="the splits are separate lists",
    ),
    KnownSet(
        name="20BN-Jester",
        kind="Videos as frames, domains, corruptions",
        home="https://www.qualcomm.com/developer/software/jester-dataset",
        licence="Qualcomm's terms, for research",
        folder="20bn-jester-v1",
        options={"layout": "{sample}/{view}"},
        files=["{1,100,34870}/{00001,00002,00037}.jpg"],
        example=[
            "train 1: 00001 00002 00037",
            "train 100: 00001 00002 00037",
            "train 34870: 00001 00002 00037",
        ],
        images=[r"\d{1,6}/\d{5}\.jpg"],
        rows="148,092",
        views="12 frames a second",
        note="the classes are in CSV files: put them into a `metadata.csv`",
        named=True,
    ),
    KnownSet(
        name="Vimeo-90K, septuplets",
        kind="Videos as frames, domains, corruptions",
        home="http://toflow.csail.mit.edu",
        folder="vimeo_septuplet/sequences",
        options={"layout": "{label}/{sample}/{view}"},
        files=["{00001,00050}/{0001,0002}/{im1,im2,im7}.png"],
        example=[
            "train 00001/0001: im1 im2 im7",
            "train 00001/0002: im1 im2 im7",
            "train 00050/0001: im1 im2 im7",
            "train 00050/0002: im1 im2 im7",
        ],
        images=[r"\d{5}/\d{4}/im[1-7]\.png"],
        rows="91,701",
        views="7 frames",
        note="the class is the video; the splits are separate lists; the same line loads triplets",
    ),
    KnownSet(
        name="ImageNet-C",
        kind="Videos as frames, domains, corruptions",
        home="https://github.com/hendrycks/robustness",
        licence="CC BY 4.0",
        folder="ImageNet-C",
        options={"layout": "{view_label}/{view}/{label}/{sample}"},
        files=["{defocus_blur,fog}/{1,5}/n01440764/ILSVRC2012_val_{00000293,00002138}.JPEG"],
        example=[
            "train n01440764/ILSVRC2012_val_00000293: defocus_blur/1 defocus_blur/5 fog/1 fog/5",
            "train n01440764/ILSVRC2012_val_00002138: defocus_blur/1 defocus_blur/5 fog/1 fog/5",
        ],
        images=[r"[a-z_]+/[1-5]/n\d{8}/(ILSVRC2012_val_\d{8}|val_\d+)\.JPEG"],
        rows="50,000",
        views="75, of 15 corruptions in 5 severities",
        note="unpack all archives into one folder; the same line loads Tiny-ImageNet-C",
    ),
    KnownSet(
        name="Office-Home",
        kind="Videos as frames, domains, corruptions",
        home="https://www.hemanthdv.org/officeHomeDataset.html",
        licence="research, not commercial (fair use)",
        folder="OfficeHomeDataset_10072016",
        options={
            "layout": "{split}/{label}/{sample}",
            "split_names": {
                "Art": "art",
                "Clipart": "clipart",
                "Product": "product",
                "Real World": "real_world",
            },
        },
        files=[
            "{Art,Clipart,Product}/Alarm_Clock/{00001,00002}.jpg",
            "Real World/Alarm_Clock/{00001,00002}.jpg",
            "{ImageInfo.csv,imagelist.txt}",
        ],
        example=[
            "art Alarm_Clock/00001: 0",
            "art Alarm_Clock/00002: 0",
            "clipart Alarm_Clock/00001: 0",
            "clipart Alarm_Clock/00002: 0",
            "product Alarm_Clock/00001: 0",
            "product Alarm_Clock/00002: 0",
            "real_world Alarm_Clock/00001: 0",
            "real_world Alarm_Clock/00002: 0",
        ],
        images=[r"(Art|Clipart|Product|Real World)/[A-Z]\w+/\d{5}\.jpg"],
        rows="2,427 art, 4,365 clipart, 4,439 product, 4,357 real_world",
        views="1",
        note="a split is a domain",
    ),
    KnownSet(
        name="PACS",
        kind="Videos as frames, domains, corruptions",
        home="https://dali-dl.github.io/project_iccv2017.html",
        folder="kfold",
        options={"layout": "{split}/{label}/{sample}"},
        files=[
            "{art_painting,cartoon}/dog/{pic_001,pic_002}.jpg",
            "photo/dog/056_0002.jpg",
            "sketch/dog/5281.png",
        ],
        example=[
            "art_painting dog/pic_001: 0",
            "art_painting dog/pic_002: 0",
            "cartoon dog/pic_001: 0",
            "cartoon dog/pic_002: 0",
            "photo dog/056_0002: 0",
            "sketch dog/5281: 0",
        ],
        images=[
            r"(art_painting|cartoon|photo|sketch)/(dog|elephant|giraffe|guitar|horse|house|person)/[^/]+\.(jpg|png)"
        ],
        rows="2,048 art_painting, 2,344 cartoon, 1,670 photo, 3,929 sketch",
        views="1",
        note="a split is a domain",
    ),
]

# Sets that no line loads as they are: name, home, and why, with the step that is needed first.
NOT_BY_A_LINE = [
    (
        "COVID-CT-MD",
        "https://github.com/ShahinSHH/COVID-CT-MD",
        "Pillow does not open DICOM files: first write each slice as PNG or TIFF, then use `{label}/{sample}/{view}`",
    ),
    (
        "MedMNIST, 3D",
        "https://medmnist.com",
        "arrays in an .npz file, no images: first write the slices as images",
    ),
    (
        "EuroSAT, all bands",
        "https://github.com/phelber/EuroSAT",
        "an image is one TIFF of 13 bands, which Pillow does not open: first write one file per band; the RGB version has one view per sample",
    ),
    (
        "CUHK03",
        "https://github.com/zhunzhong07/person-re-ranking",
        "the images are inside a .mat file: use the unpacked version, in the form of Market-1501",
    ),
    (
        "nuScenes",
        "https://www.nuscenes.org",
        "only JSON tables say which images of the six cameras belong together, since the times in their names differ",
    ),
    (
        "RxRx1",
        "https://www.rxrx.ai/rxrx1",
        "a sample is an experiment, a plate and a well, but a layout takes its name from one folder: first rename the folders of the plates",
    ),
]
