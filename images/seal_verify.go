package images

import "context"

func (v *verifier) seal(ctx context.Context) error { return nil }
