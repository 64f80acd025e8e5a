// Package reference reads what a caller writes in `model`: a model's name, and
// optionally which of its versions. It does not know which models there are;
// start reading at Parse.
package reference

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Kind says how a reference picks a version.
type Kind int

// The kinds of reference.
const (
	// Default is `name`: the model's split, or its default version.
	Default Kind = iota
	// Alias is `name@alias`.
	Alias
	// Number is `name@v3`.
	Number
	// Digest is `name@sha256:…`.
	Digest
)

// The bounds on a reference's parts, in bytes; they are the registry's own.
const (
	MaxName  = 128
	MaxAlias = 63
)

const (
	digestPrefix = "sha256:"
	digestHex    = 64
	maxDigits    = 9 // of a version's number
)

// Ref is a reference that was read.
type Ref struct {
	// Name is the model's name.
	Name string
	// Kind says which of the fields below is set.
	Kind Kind
	// Alias is set for Alias.
	Alias string
	// Number is set for Number, from 1.
	Number int32
	// Digest is set for Digest: `sha256:` and 64 hexadecimal digits.
	Digest string
}

// String writes the reference as Parse reads it.
func (r Ref) String() string {
	switch r.Kind {
	case Alias:
		return r.Name + "@" + r.Alias
	case Number:
		return r.Name + "@v" + strconv.Itoa(int(r.Number))
	case Digest:
		return r.Name + "@" + r.Digest
	case Default:
		return r.Name
	default:
		return r.Name
	}
}

// Parse reads a reference. What follows `@` is a digest when it begins with
// `sha256:`, a number when it is `v` and digits, and an alias otherwise; an
// alias that looks like a number can therefore not be asked for.
func Parse(s string) (Ref, error) {
	name, qualifier, qualified := strings.Cut(s, "@")
	if err := checkName(name); err != nil {
		return Ref{}, err
	}
	if !qualified {
		return Ref{Name: name}, nil
	}
	switch {
	case qualifier == "":
		return Ref{}, errors.New("an alias, a version such as v3 or a digest must follow @")
	case strings.HasPrefix(qualifier, digestPrefix):
		return parseDigest(name, qualifier)
	case isNumber(qualifier):
		return parseNumber(name, qualifier)
	default:
		return parseAlias(name, qualifier)
	}
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("a model's name is missing")
	case len(name) > MaxName:
		return fmt.Errorf("a model's name has at most %d characters", MaxName)
	case !isLower(name[0]) && !isDigit(name[0]), !all(name, isNameByte):
		return errors.New("a model's name is made of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit")
	}
	return nil
}

func parseDigest(name, q string) (Ref, error) {
	digits := q[len(digestPrefix):]
	if len(digits) != digestHex || !all(digits, isHex) {
		return Ref{}, fmt.Errorf("a digest is %s and %d hexadecimal digits in lower case", digestPrefix, digestHex)
	}
	return Ref{Name: name, Kind: Digest, Digest: q}, nil
}

func isNumber(q string) bool { return len(q) > 1 && q[0] == 'v' && all(q[1:], isDigit) }

func parseNumber(name, q string) (Ref, error) {
	digits := q[1:]
	if digits[0] == '0' || len(digits) > maxDigits {
		return Ref{}, fmt.Errorf("a version's number is from 1 to %s", strings.Repeat("9", maxDigits))
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return Ref{}, fmt.Errorf("a version's number: %w", err)
	}
	return Ref{Name: name, Kind: Number, Number: int32(n)}, nil
}

func parseAlias(name, q string) (Ref, error) {
	if len(q) > MaxAlias || !isLower(q[0]) || !all(q, isNameByte) {
		return Ref{}, fmt.Errorf("an alias is made of a-z, 0-9, '.', '_' and '-', begins with a letter "+
			"and has at most %d characters", MaxAlias)
	}
	return Ref{Name: name, Kind: Alias, Alias: q}, nil
}

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isHex(c byte) bool   { return isDigit(c) || 'a' <= c && c <= 'f' }

func isNameByte(c byte) bool {
	return isLower(c) || isDigit(c) || c == '.' || c == '_' || c == '-'
}
