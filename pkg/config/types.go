package config

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size. It is written as a whole number with an optional unit: B,
// kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024).
type Bytes int64

// The units in which sizes are usually given in code.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
)

type byteUnit struct {
	name string
	size int64
}

// byteUnits are in the order in which MarshalText tries them.
func byteUnits() []byteUnit {
	return []byteUnit{
		{"TiB", 1 << 40},
		{"GiB", 1 << 30},
		{"MiB", 1 << 20},
		{"KiB", 1 << 10},
		{"TB", 1e12},
		{"GB", 1e9},
		{"MB", 1e6},
		{"kB", 1e3},
		{"B", 1},
	}
}

// UnmarshalText reads a size; letter case does not matter.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.TrimSpace(s[len(digits):])
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a size such as 1048576 or 1MiB", s)
	}
	if unit == "" {
		*b = Bytes(n)
		return nil
	}
	for _, u := range byteUnits() {
		if strings.EqualFold(u.name, unit) {
			if n > math.MaxInt64/u.size {
				return fmt.Errorf("%q is too large", s)
			}
			*b = Bytes(n * u.size)
			return nil
		}
	}
	return fmt.Errorf("%q has an unknown unit; use B, kB, MB, GB, TB, KiB, MiB, GiB or TiB", s)
}

// MarshalText writes the size with the largest unit that divides it.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

func (b Bytes) String() string {
	if b == 0 {
		return "0B"
	}
	for _, u := range byteUnits() {
		if int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// InMiB is about how much it is, for people who compare sizes.
func (b Bytes) InMiB() string { return fmt.Sprintf("%.1f MiB", float64(b)/float64(MiB)) }

// Int returns the size as an int, at most math.MaxInt.
func (b Bytes) Int() int { return int(min(int64(b), math.MaxInt)) }

// Mask stands in print for a Secret that is set.
const Mask = "********"

// Secret is a text that never shows: formatting, logging and encoding it give
// Mask. Only Reveal returns what it holds.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Mask
}

// GoString keeps the secret out of %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText keeps the secret out of YAML and JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue keeps the secret out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Format keeps the secret out of every verb of fmt, %x and %d among them.
func (s Secret) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') || verb == 'q' {
		_, _ = f.Write([]byte(s.GoString()))
		return
	}
	_, _ = f.Write([]byte(s.String()))
}
