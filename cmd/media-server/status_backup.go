package main

import (
	"fmt"
	"slices"
	"time"

	"media-server/core/web/api"
)

// lastBackup says when and where the newest backup of this server was made;
// list is newest first.
func lastBackup(list []api.Backup, dir string, zone *time.Location) string {
	list = slices.DeleteFunc(list, func(b api.Backup) bool { return !b.Own })
	if len(list) == 0 {
		return "last backup: none yet; media-server backup"
	}
	b := list[0]
	return fmt.Sprintf("last backup: %s, %s, %s in %s", time.UnixMilli(b.Made).In(zone).Format(time.DateTime), size(b.Size), b.Name, dir)
}
