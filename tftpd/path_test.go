package tftpd

import (
	"errors"
	"io/fs"
	"testing"
)

func TestCleanPath(t *testing.T) {
	for in, want := range map[string]string{
		"ipxe.efi":               "ipxe.efi",
		"/ipxe.efi":              "ipxe.efi",
		"//boot//x/./ipxe.efi":   "boot/x/ipxe.efi",
		`\boot\x64\wdsnbp.com`:   "boot/x64/wdsnbp.com",
		"boot/../ipxe.efi":       "ipxe.efi",
		"snponly.efi\xff":        "snponly.efi",
		"snponly.efi\xff\xff":    "snponly.efi",
		"pxelinux.cfg/01-52-54":  "pxelinux.cfg/01-52-54",
		"dir/":                   "dir",
		"..hidden":               "..hidden",
		"C:/x":                   "C:/x",
		"grub/x86_64-efi/a b.mo": "grub/x86_64-efi/a b.mo",
	} {
		if got, err := cleanPath(in); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]error{
		"..":             fs.ErrPermission,
		"../x":           fs.ErrPermission,
		"/../x":          fs.ErrPermission,
		`..\x`:           fs.ErrPermission,
		"a/../../x":      fs.ErrPermission,
		"/a/b/../../../": fs.ErrPermission,
		"":               fs.ErrInvalid,
		"/":              fs.ErrInvalid,
		`\\`:             fs.ErrInvalid,
		"\xff":           fs.ErrInvalid,
		"a\xff/b":        fs.ErrInvalid,
	} {
		if got, err := cleanPath(in); !errors.Is(err, want) {
			t.Errorf("%q: %q, %v, want %v", in, got, err, want)
		}
	}
}
