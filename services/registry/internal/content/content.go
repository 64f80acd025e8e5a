// Package content keeps the bytes of artifacts: in a directory, or in a bucket of
// S3 and servers that speak like it. What is being uploaded is seen by nobody
// until it is finished, and then lies wholly at a place of its own that is never
// given twice. It knows nothing of hashes that files should have, of who refers
// to them, or of when they may go; start reading at Directory and Bucket.
package content

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"syscall"

	"github.com/poterne/poterne/pkg/apierr"
)

// MaxParts bounds the parts that may be begun for an upload.
const MaxParts = 10_000

// Upload is one that was begun.
type Upload struct {
	// ID names it, in lower-case letters, digits and dashes.
	ID string
	// Handle is what Begin returned; empty when that was not noted.
	Handle string
	// SHA256 is for the name of the place, in hexadecimal digits; Size is the
	// whole file's, in bytes. Both are for Finish only.
	SHA256 string
	Size   int64
}

// Part is a part of an upload.
type Part struct {
	// Attempt is a number, from 1 to MaxParts, that no other try to put this part
	// or another of the upload has.
	Attempt int
	// Offset is where it begins in the file, and Size its length, in bytes.
	Offset, Size int64
	// Tag is what putting it returned.
	Tag string
}

// errBusy says that another writer has the upload.
func errBusy(id string) error {
	return apierr.New(apierr.Conflict, "another writer has the upload %s; try again", id).WithField("upload")
}

func errShort(want, got int64) error {
	return apierr.New(apierr.InvalidArgument, "the part ends after %d bytes of %d", got, want).WithField("data")
}

// errFull says that there is no room for what was to be written.
func errFull(cause error) error {
	return apierr.Wrap(apierr.StorageFull, cause, "the registry's store of artifacts is full")
}

func errGone(place string) error {
	return apierr.New(apierr.NotFound, "there is nothing at %s in the store of artifacts", place)
}

// diskError makes an error of the disk one for callers.
func diskError(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return errFull(err)
	default:
		return apierr.Wrap(apierr.Unavailable, fmt.Errorf("%s: %w", what, err), "the registry's store of artifacts does not answer; try again")
	}
}

// plain refuses ids and places that could lead elsewhere.
var plain = regexp.MustCompile(`^[a-z0-9-]+(/[a-z0-9-]+)*$`)

// counted counts what is read.
type counted struct {
	io.Reader
	n   int64
	err error // other than the end
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
