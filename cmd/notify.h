/* sd_notify(3): telling systemd how far we are. */
#ifndef STOWAGE_CMD_NOTIFY_H
#define STOWAGE_CMD_NOTIFY_H

/* Sends lines such as "READY=1\nSTATUS=...". Does nothing where nobody asked ($NOTIFY_SOCKET), and a
 * failure is of no consequence. */
void notify_systemd(const char *lines);

#endif
