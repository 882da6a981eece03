/* An ordinary user's ids: with them he has the rights over a branch that his containers had. */
#pragma once

/*
 * What a rootless container made belongs to the user's subordinate ids (subuid(5)), and may have modes that shut the
 * user himself out. So this process goes to a user namespace as podman makes it: the user is 0 there, his subordinate
 * ids are 1 and on, and all of them are under its capabilities. For user 0 there is nothing to do.
 *
 * NULL, or why it has not got all of them: then files of other ids can be out of reach.
 */
const char *cow_command_take_ids(void);
