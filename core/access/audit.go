package access

import (
	"context"
	"fmt"
)

// Entry is one line of the audit.
type Entry struct {
	ID      int64  `json:"id"`
	TimeMS  int64  `json:"time_ms"`
	Who     string `json:"who"`
	Address string `json:"address"`
	What    string `json:"what"`
}

// auditMost is how many lines are kept; failed logins are among them.
const auditMost = 200000

// Audit writes down who did what, from where. It must not hold secrets.
func (a *Access) Audit(who, address, what string) {
	r, err := a.db.Write.Exec("INSERT INTO audit(time_ms,who,address,what) VALUES(?,?,?,?)", a.o.Now().UnixMilli(), who, address, what)
	if err == nil {
		if id, _ := r.LastInsertId(); id%1000 == 0 {
			_, err = a.db.Write.Exec("DELETE FROM audit WHERE id <= ?", id-auditMost)
		}
	}
	if err != nil {
		a.o.Log.Error("the audit cannot be written", "who", who, "address", address, "what", what, "err", err)
	}
}

// AuditLog gives lines newest first, and the cursor of what comes behind; 0 =
// nothing.
func (a *Access) AuditLog(ctx context.Context, before int64, limit int) (items []Entry, next int64, err error) {
	if before <= 0 {
		before = 1 << 62
	}
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, 10000)
	rows, err := a.db.Read.QueryContext(ctx, "SELECT id,time_ms,who,address,what FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?", before, limit+1)
	if err != nil {
		return nil, 0, fmt.Errorf("read the audit: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var e Entry
		if err := rows.Scan(&e.ID, &e.TimeMS, &e.Who, &e.Address, &e.What); err != nil {
			return nil, 0, fmt.Errorf("read the audit: %w", err)
		}
		items = append(items, e)
	}
	if len(items) > limit {
		items = items[:limit]
		next = items[limit-1].ID
	}
	return items, next, rows.Err()
}
