package store

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
)

// AnyEtag stands, as an etag, for whatever is there.
const AnyEtag = "*"

// The names under which errors carry what a program may want to know.
const (
	metaEtag    = "etag"
	metaModel   = "model"
	metaDigest  = "digest"
	metaVariant = "variant"
	metaState   = "state"    // how it stands with something
	metaNeeds   = "standing" // what keeps something from being deleted
)

// names matches whatever may be the name of a model, an alias or an arm: what
// does not match cannot be stored, and PostgreSQL refuses some of it.
var names = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)

// versionLike matches names that a reference (`name@…`) takes for a version's
// number or for a digest, or that people would.
var versionLike = regexp.MustCompile(`^(v[0-9]+$|sha256)`)

// etagOf writes the revision of something's last change as its etag. Revisions
// are never given twice, so neither are etags.
func etagOf(revision int64) string { return "r" + strconv.FormatInt(revision, 10) }

func modelNotFound(model string) error {
	return apierr.New(apierr.ModelNotFound, "the model %q is not in the registry", model).
		WithField("model").WithMetadata(metaModel, model)
}

// inField says of an error that is for the caller which field it is about.
func inField(err error, field string) error {
	if known, ok := errors.AsType[*apierr.Error](err); ok {
		return known.WithField(field)
	}
	return err
}

func notFound(field, format string, args ...any) error {
	return apierr.New(apierr.NotFound, format, args...).WithField(field)
}

// compareEtag decides whether a change may go on: present is the etag of what
// is there, or "" for nothing.
func compareEtag(what, given, present string) error {
	if given == AnyEtag || given == present {
		return nil
	}
	var message string
	switch {
	case given == "":
		message = fmt.Sprintf("%s is there already: give its etag to change it", what)
	case present == "":
		message = fmt.Sprintf("%s is no longer there", what)
	default:
		message = fmt.Sprintf("%s has changed since it was read", what)
	}
	return apierr.New(apierr.Conflict, "%s", message).WithField("etag").WithMetadata(metaEtag, present)
}
