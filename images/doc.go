// Package images makes, keeps and describes images: immutable, versioned root file systems with their
// kernel and initrd.
//
// A Recipe says how an image is built; Builder builds it with mmdebstrap; Catalog keeps the published
// versions in a directory each, with a signed-for manifest of every file, and an atomic "current". The
// package imports nothing of Muster's. It deliberately does not export anything over a network: that is
// images/nfs and httpboot.
package images
