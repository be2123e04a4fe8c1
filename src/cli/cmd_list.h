/* cli/cmd_list.h: every subcommand, in the order of the overview. A new one is one file and one line here. */
COMMAND(command_init)
COMMAND(command_train)
COMMAND(command_encode)
