package main

import (
	"fmt"
	"time"

	"media-server/core/web/api"
)

// lastBackup is the newest backup that this server has made; list is newest
// first.
func lastBackup(list []api.Backup) *api.Backup {
	for i := range list {
		if list[i].Own {
			return &list[i]
		}
	}
	return nil
}

// backupLine says when and where the last backup was made.
func backupLine(b *api.Backup, dir string, now time.Time, zone *time.Location) string {
	if b == nil {
		return "last backup: none yet; media-server backup"
	}
	return fmt.Sprintf("last backup: %s (%s), %s, %s in %s", time.UnixMilli(b.Made).In(zone).Format(time.DateTime), ago(now, b.Made), size(b.Size), b.Name, dir)
}
