/* The commands. Each takes its own name as argv[0] and returns the exit status: 0, 1 for a failure, 2
 * for usage or configuration. */
#ifndef STOWAGE_CMD_COMMANDS_H
#define STOWAGE_CMD_COMMANDS_H

int cmd_serve(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_ls(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_ingests(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_flush(int argc, char **argv);
int cmd_pin(int argc, char **argv);
int cmd_unpin(int argc, char **argv);
int cmd_prefetch(int argc, char **argv);
int cmd_gc(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_import(int argc, char **argv);

#endif
