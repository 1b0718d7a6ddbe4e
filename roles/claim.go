package roles

import (
	"context"
	"errors"
)

// Claim redeems the one-time token of a boot for the key that the machine made: from then on key is what proves
// that it is this machine. Who has the token and another key comes too late: the error wraps fs.ErrPermission
// and an event says so. The same machine may ask again. It gives the orders that the boot has.
func (r *Registry) Claim(ctx context.Context, mac MAC, token, key string) (Orders, error) {
	return Orders{}, errors.ErrUnsupported
}

// Present takes a word of a node's running system: key is the one that it claimed its latest boot with (the
// error wraps fs.ErrPermission for another one), files the revision of the files that it has. It gives the
// node.
func (r *Registry) Present(ctx context.Context, mac MAC, key, files string) (Node, error) {
	return Node{}, errors.ErrUnsupported
}
