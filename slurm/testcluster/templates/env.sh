# Read this in a shell (`. env.sh`) to use the cluster in this folder.
export SLURM_CONF=$slurm_conf
export PATH="$$PATH:/usr/sbin:/sbin"
