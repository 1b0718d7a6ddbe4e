package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"muster/images"
)

func imagePath(ref, rest string) string { return "/v1/images/" + url.PathEscape(ref) + rest }

// ListImages lists the published images.
func (c *Client) ListImages(ctx context.Context) ([]images.Image, error) {
	return get[[]images.Image](ctx, c, "/v1/images")
}

// Image gives one published image; version 0 is the current one.
func (c *Client) Image(ctx context.Context, ref images.Ref) (images.Image, error) {
	return get[images.Image](ctx, c, imagePath(ref.String(), ""))
}

// PublishImage makes a version the current one of its name. What runs goes on with what it has.
func (c *Client) PublishImage(ctx context.Context, ref images.Ref) (images.Image, error) {
	return post[images.Image](ctx, c, imagePath(ref.String(), "/publish"), nil)
}

// RollbackImage makes the version current that was before, and gives it.
func (c *Client) RollbackImage(ctx context.Context, name string) (images.Image, error) {
	return post[images.Image](ctx, c, imagePath(name, "/rollback"), nil)
}

// VerifyImage compares a version with its manifest, and that with its signature. It reads every file: it may take a
// minute.
func (c *Client) VerifyImage(ctx context.Context, ref images.Ref) (Verification, error) {
	return get[Verification](ctx, c, imagePath(ref.String(), "/verify"))
}

// DiffImages tells what differs between two versions.
func (c *Client) DiffImages(ctx context.Context, a, b images.Ref) (images.Diff, error) {
	var d images.Diff
	err := c.call(ctx, http.MethodGet, imagePath(a.String(), "/diff"), url.Values{"to": {b.String()}}, nil, &d)
	return d, err
}

// ImageLog writes the log of a version's build to w, or its last lines where tail is not 0; version 0 is the
// latest build, which may have failed.
func (c *Client) ImageLog(ctx context.Context, ref images.Ref, tail int, w io.Writer) error {
	q := url.Values{}
	if tail != 0 {
		q.Set("tail", strconv.Itoa(tail))
	}
	resp, err := c.send(ctx, http.MethodGet, imagePath(ref.String(), "/log"), q, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("api: log of %s: %w", ref, err)
	}
	return nil
}

// PruneImages removes versions that nothing uses. It gives all that it looked at, each with the reason why it
// stays.
func (c *Client) PruneImages(ctx context.Context, q PruneRequest) ([]images.Pruned, error) {
	return post[[]images.Pruned](ctx, c, "/v1/images/prune", q)
}

// RemoveImage removes one version. The error wraps fs.ErrExist, and says why, where something uses it.
func (c *Client) RemoveImage(ctx context.Context, ref images.Ref) error {
	return c.call(ctx, http.MethodDelete, imagePath(ref.String(), ""), nil, nil, nil)
}

// PackImage makes the squashfs of a version, which nodes with their root in RAM load.
func (c *Client) PackImage(ctx context.Context, ref images.Ref) (images.Image, error) {
	return post[images.Image](ctx, c, imagePath(ref.String(), "/pack"), nil)
}

// Build builds the image of a role and reports on its way; a nil progress is fine. The build is cancelled with ctx.
func (c *Client) Build(ctx context.Context, role string, progress func(BuildProgress)) (images.Image, error) {
	return c.build(ctx, imagePath(role, "/build"), nil, progress)
}

// Import makes the image name of what recipe.From names, as the server sees it, and reports like Build does.
func (c *Client) Import(ctx context.Context, name string, recipe images.Recipe, progress func(BuildProgress)) (images.Image, error) {
	return c.build(ctx, imagePath(name, "/import"), recipe, progress)
}

// build reads the stream of a build.
func (c *Client) build(ctx context.Context, path string, body any, progress func(BuildProgress)) (images.Image, error) {
	resp, err := c.send(ctx, http.MethodPost, path, nil, body)
	if err != nil {
		return images.Image{}, err
	}
	var built *images.Image
	err = lines(ctx, resp, func(l BuildLine) error {
		switch {
		case l.Error != "":
			return &Error{Status: resp.StatusCode, Message: l.Error, Kind: l.Kind}
		case l.Image != nil:
			built = l.Image
		case l.Progress != nil && progress != nil:
			progress(*l.Progress)
		}
		return nil
	})
	if err != nil {
		return images.Image{}, err
	}
	if built == nil {
		return images.Image{}, &unreachable{"the server on " + c.where + " went away before the image was built"}
	}
	return *built, nil
}
