"""Where work is done: in processes of this machine, or on a Ray cluster.

    with open_engine("ray", address="10.0.0.1:6379") as engine:
        for result in engine.run(function, calls):
            ...

An engine calls one function with many arguments. The results do not depend on the engine, on the
number of processes, or on the order in which they finish. loky and Ray do the scheduling.

The modules of this package import the script, `errors` and each other, nothing else of the project.
"""
