package images

import (
	"context"
	"time"
)

// finish turns a partial directory, with tree, kernel and initrd in it, into a published version: what other
// versions have as well is shared with them, every file is digested, the digest is signed, everything is
// flushed, and only then does the directory get its name.
func (c *Catalog) finish(ctx context.Context, partial string, img Image, tell func(Stage, string)) (Image, error) {
	tell(StageManifest, "digesting every file")
	t, err := writeManifest(ctx, partial)
	if err != nil {
		return Image{}, err
	}
	img.Digest, img.Files, img.Size = t.digest, t.files, t.size
	tell(StagePublish, "writing to disk")
	img.Built = time.Now().UTC().Truncate(time.Second)
	return c.publish(partial, img)
}
