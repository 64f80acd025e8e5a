package embedding

import (
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
)

// ValidReference reports whether s can name a model to the inference service:
// the name of a registered model, and perhaps an alias, a version or a digest
// after an @. It is not asked whether there is one.
func ValidReference(s string) bool {
	name, version, pinned := strings.Cut(s, "@")
	const letters, digits, marks = "abcdefghijklmnopqrstuvwxyz", "0123456789", "._-"
	if name == "" || len(name) > 63 || strings.ContainsAny(name[:1], marks) || strings.Trim(name, letters+digits+marks) != "" {
		return false
	}
	return !pinned || version != "" && len(version) <= 128 && strings.Trim(version, letters+digits+marks+":") == ""
}

// ValidDigest reports whether s is a version's digest.
func ValidDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// Pinned returns the reference to one version of a model: digest is "" or what
// Vectors told. The alias or number of a reference gives way to it.
func Pinned(model, digest string) string {
	if digest == "" {
		return model
	}
	name, _, _ := strings.Cut(model, "@")
	return name + "@" + digest
}

// Failure returns what callers are told when Embed failed: that the text is at
// fault, if it is, and UNAVAILABLE in every other case.
func Failure(err error) *apierr.Error {
	e := apierr.From(err)
	switch e.Reason {
	case apierr.InvalidArgument, apierr.ContextLengthExceeded:
		return apierr.Wrap(apierr.InvalidArgument, err, "the embedding model refuses the text: %s", e.Message).WithField("text")
	case apierr.Cancelled:
		return e
	default:
		return apierr.Wrap(apierr.Unavailable, err, "embedding is unavailable: %s", e.Message)
	}
}
