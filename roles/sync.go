package roles

import "context"

// Synced notes that a node has its files as they are now.
func (r *Registry) Synced(ctx context.Context, mac MAC) error {
	return r.Store.Update(ctx, func(tx Tx) error {
		n, ok := tx.Nodes().Get(mac)
		if !ok || !n.Sync {
			return nil
		}
		n.Sync = false
		if err := tx.Nodes().Put(n); err != nil {
			return err
		}
		return operator(tx, n, r.now(), "has its files as they are now")
	})
}
