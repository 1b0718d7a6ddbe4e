package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"muster/images"
)

// Registry is images.Source for oci:REFERENCE, such as oci:debian:12, oci:quay.io/org/image@sha256:…. Its zero
// value is ready.
type Registry struct {
	// Keychain has the credentials; nil means those that docker login left for the user this process runs
	// as (authn.DefaultKeychain). A registry without an entry is asked as nobody.
	Keychain authn.Keychain
	// PlainHTTP talks to registries without TLS, for networks that are trusted: the scheme oci+http. This
	// machine itself (localhost) is talked to without TLS anyway when it has none.
	PlainHTTP bool
	// Transport makes the connections; nil means one with sound time-outs that heeds HTTPS_PROXY.
	Transport http.RoundTripper

	pause time.Duration // before a connection is tried again; 0 means a second
	stall time.Duration // that a connection may be silent; 0 means stallTime
}

// Fill implements images.Source.
func (r Registry) Fill(ctx context.Context, what, dir string, o images.FillOptions) (string, error) {
	var options []name.Option
	scheme := "oci:"
	if r.PlainHTTP {
		options, scheme = append(options, name.Insecure), "oci+http:"
	}
	ref, err := name.ParseReference(what, options...)
	if err != nil {
		return "", fmt.Errorf("oci: %q is not a reference such as debian:12 or registry.example.org/group/image@sha256:…: %w", what, fs.ErrInvalid)
	}
	keys := r.Keychain
	if keys == nil {
		keys = authn.DefaultKeychain
	}
	img, err := remote.Image(ref, remote.WithContext(ctx), remote.WithTransport(r.transport()), remote.WithAuthFromKeychain(keys),
		remote.WithPlatform(platform), remote.WithUserAgent("muster"), remote.WithRetryBackoff(r.backoff()))
	if err == nil {
		err = pull(ctx, img, dir, o)
	}
	if err != nil {
		return "", fmt.Errorf("oci: %s: %w", what, explain(ctx, err, ref))
	}
	digest, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("oci: %s: %w", what, err)
	}
	return scheme + strings.TrimPrefix(ref.Context().Name(), "index.") + "@" + digest.String(), nil
}

func (r Registry) transport() http.RoundTripper {
	t := resumer{base: r.Transport, plain: r.PlainHTTP, pause: r.pause, stall: r.stall}
	if t.base == nil {
		base := remote.DefaultTransport.(*http.Transport).Clone()
		base.ResponseHeaderTimeout = time.Minute
		base.DisableCompression = true // layers are compressed already, and a length is needed to resume
		t.base = base
	}
	t.pause, t.stall = cmp.Or(t.pause, time.Second), cmp.Or(t.stall, stallTime)
	return t
}

// backoff is how often a request is tried again: after 1, 3 and 9 seconds.
func (r Registry) backoff() remote.Backoff {
	b := remote.Backoff{Duration: r.pause, Factor: 3, Jitter: 0.1, Steps: 3}
	if r.pause == 0 {
		b.Duration = time.Second
	}
	return b
}

// explain says what a registry's answer means, and what to do.
func explain(ctx context.Context, err error, ref name.Reference) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	registry := ref.Context().RegistryStr()
	var answer *transport.Error
	if !errors.As(err, &answer) {
		if errors.Is(err, http.ErrSchemeMismatch) || errors.Is(err, errPlain) {
			return fmt.Errorf("the registry %s speaks plain HTTP: use oci+http: where the network to it is trusted: %w", registry, fs.ErrPermission)
		}
		if strings.Contains(err.Error(), "no child with platform") {
			return fmt.Errorf("the image is not there for %s: %w", platform, fs.ErrNotExist)
		}
		return err
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		// Docker Hub says so of what does not exist as well.
		return fmt.Errorf("the registry %s does not give it to us: check its name, or log in (docker login %s) as the user who runs muster: %w", registry, registry, fs.ErrPermission)
	case http.StatusNotFound:
		return fmt.Errorf("the registry %s has no such image, tag or digest: %w", registry, fs.ErrNotExist)
	case http.StatusTooManyRequests:
		return fmt.Errorf("the registry %s has had too many requests from here: try later, or log in (docker login %s)", registry, registry)
	}
	return fmt.Errorf("the registry %s answers %d %s", registry, answer.StatusCode, http.StatusText(answer.StatusCode))
}
