"""`python -m multiview_cifar_tools`: the command line, see `cli.main`."""

import sys

from multiview_cifar_tools.cli.main import main

sys.exit(main())
