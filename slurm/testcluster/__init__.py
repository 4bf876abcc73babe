"""A private Slurm cluster on one machine: `slurm/testcluster/up DIR`, then `. DIR/env.sh`.

Real daemons (munged, mariadbd, slurmdbd, slurmctld, one slurmd a virtual node), all their files in
one folder, unprivileged ports, fake A100 GPUs. Python's standard library alone, so that it works
before anything is installed. What lies where:

    command.py        the command lines of `up` and `down`
    cluster.py        Cluster: up, down, its daemons, its client commands
    settings.py       the knobs, and the ports that follow from one of them
    folder.py         where everything lies in the cluster's folder
    configuration.py  templates/ -> the configuration files
    daemons.py        how each daemon is started and when it is ready
    memory.py         memory limits that bite: by cgroups, or by sampling
    processes.py      start, identify, signal and end processes of ours, and of no one else
    packages.py       what must be installed, and installing it
"""
