package roles

import (
	"context"
	"errors"
)

// PairReport takes what a half says of itself and gives its orders. The key is that of Present, with its errors;
// fs.ErrInvalid for a node whose pool is no pair.
func (r *Registry) PairReport(ctx context.Context, mac MAC, key string, h Half) (PairOrders, error) {
	return PairOrders{}, errors.ErrUnsupported
}

// PairMade notes that the pair has its file system. Only the half that was told to make it may say so.
func (r *Registry) PairMade(ctx context.Context, mac MAC, key string) error {
	return errors.ErrUnsupported
}

// PairFence switches the caller's peer off and returns when it is off for sure, also when it was off already. The
// peer is switched on again later, when the caller serves. With try it only asks whether that could be done.
func (r *Registry) PairFence(ctx context.Context, mac MAC, key string, try bool) error {
	return errors.ErrUnsupported
}

// PairOutdate notes that the data of the caller's peer are not the newest. The error wraps fs.ErrExist when the
// caller's own are not.
func (r *Registry) PairOutdate(ctx context.Context, mac MAC, key string) error {
	return errors.ErrUnsupported
}

// Pairs gives every storage pair, by name.
func (r *Registry) Pairs() ([]PairView, error) { return nil, errors.ErrUnsupported }

// Pair gives one storage pair.
func (r *Registry) Pair(pool string) (PairView, error) { return PairView{}, errors.ErrUnsupported }

// Stored says why the storage of a pool's nodes is not there yet, "" when it is: for a pool without Storage, and
// for one whose pair serves. image, "web:7", must be offered there; "" for none.
func (r *Registry) Stored(p Pool, image string) (why string) { return "" }

// ClaimDisk gives a disk (its serial number or device) to the half in a slot, with all that is on it. The error
// wraps fs.ErrInvalid when the half reports another disk, or data that the pair itself needs.
func (r *Registry) ClaimDisk(ctx context.Context, slot, disk string) (PairView, error) {
	return PairView{}, errors.ErrUnsupported
}

// PromoteHalf makes the pair go on with the data of one half alone, without the other half, which may have newer
// ones: they are lost. The other machine is switched off first; the error wraps fs.ErrInvalid where that can't be
// done, unless off says that somebody made sure.
func (r *Registry) PromoteHalf(ctx context.Context, slot string, off bool) (PairView, error) {
	return PairView{}, errors.ErrUnsupported
}

// KeepHalf decides a split: the data of this half stay, those of the other are discarded.
func (r *Registry) KeepHalf(ctx context.Context, slot string) (PairView, error) {
	return PairView{}, errors.ErrUnsupported
}

// MaintainHalf takes a half out of service, or back.
func (r *Registry) MaintainHalf(ctx context.Context, slot string, on bool) (PairView, error) {
	return PairView{}, errors.ErrUnsupported
}

// VerifyPair asks for a comparison of both disks, block by block; its outcome is in Half.Verify.
func (r *Registry) VerifyPair(ctx context.Context, pool string) (PairView, error) {
	return PairView{}, errors.ErrUnsupported
}
