package price

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Target is what a price is for.
type Target struct {
	// Model is a model's name, or * for every one; empty where Digest says it all.
	Model string
	// Version is the version's number; 0 is every version.
	Version int32
	// Digest names a version, or a variant of one.
	Digest string
	// Variant is the variant's name; empty is every one.
	Variant string
}

// Every is the model of a price for every model.
const Every = "*"

const (
	maxModel   = 128
	digestHead = "sha256:"
)

// errTarget is all that is said of a text that names nothing.
var errTarget = errors.New("price: must be a model such as chat, a version such as chat@v3, a digest, or *")

// errVariant is all that is said of a variant's name.
var errVariant = errors.New("price: a variant's name must not have control characters")

// ParseTarget reads `name`, `name@v3`, `sha256:…` or `*`; variant may be empty.
func ParseTarget(model, variant string) (Target, error) {
	t := Target{Variant: variant}
	if strings.ContainsFunc(variant, unicode.IsControl) {
		return Target{}, errVariant
	}
	if strings.HasPrefix(model, digestHead) {
		if !digestForm().MatchString(model) {
			return Target{}, errTarget
		}
		t.Digest = model
		return t, nil
	}
	name, version, versioned := strings.Cut(model, "@")
	if versioned {
		n, err := strconv.ParseInt(strings.TrimPrefix(version, "v"), 10, 32)
		if !strings.HasPrefix(version, "v") || err != nil || n < 1 || version != "v"+strconv.FormatInt(n, 10) {
			return Target{}, errTarget
		}
		t.Version = int32(n)
	}
	if name == "" || len(name) > maxModel || strings.Contains(name, " ") || strings.ContainsFunc(name, unicode.IsControl) || versioned && name == Every {
		return Target{}, errTarget
	}
	t.Model = name
	return t, nil
}

func digestForm() *regexp.Regexp { return regexp.MustCompile(`^sha256:[0-9a-f]{64}$`) }

// Reference is how the target is written: `name`, `name@v3`, `sha256:…` or `*`.
func (t Target) Reference() string {
	switch {
	case t.Digest != "":
		return t.Digest
	case t.Version > 0:
		return t.Model + "@v" + strconv.Itoa(int(t.Version))
	default:
		return t.Model
	}
}

// Key tells targets apart.
func (t Target) Key() string { return t.Reference() + " " + t.Variant }
