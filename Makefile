# make TASK ARGS="ARGUMENTS": each task is one of tasks.py, which says what it does. Without make: python tasks.py TASK ARGUMENTS.

PYTHON ?= python3
TASKS = help demo test check docs interop matrix notebook regenerate bench bench-compare fuzz clocks walks signals forks limits build lock clean

.PHONY: $(TASKS)
# With -j, too: `check` installs into the environment that `test` would be running in.
.NOTPARALLEL:

$(TASKS):
	@$(PYTHON) tasks.py $@ $(ARGS)
