"""`pipeline doctor`: will this study run here? Facts are learnt at the edge and judged apart.

finding.py     one line of the answer; pure
study.py       the study, its trainer, its state; where the code stands in git
repair.py      a state that agrees with all that is known, from what is left of it
strays.py      what became of submissions that a state does not know
rebuild.py     submissions and decisions that a state had lost, put back; pure
leftovers.py   what killed commands left behind
files.py       the workspace's file system: learnt by really writing; judged
machine.py     this machine: Python, torch, and what the local profile asks of it
access.py      clients, controller, partitions, account, QOS: may this user submit? pure
limits.py      arrays, numbers of jobs, walltime; pure
nodes.py       does any node offer what a task asks for? pure
torch_probe.py what torch finds, asked in a process of its own
node_report.py what a compute node says of itself (runs there)
deep.py        sends that report's job and waits for it; judges it
examine.py     all of it in order
render.py      findings for a terminal, a pipe, a script
command.py     the command: examine and print, or repair
"""
