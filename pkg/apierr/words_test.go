package apierr

import "testing"

func TestInWords(t *testing.T) {
	for in, want := range map[string]string{
		"must be at least 1 characters":                  "is required",
		"must contain at least 1 item(s)":                "is required",
		"value is required":                              "is required",
		"must be at least 3 characters":                  "must be at least 3 characters",
		"must be in list [, system, user]":               "must be one of: system, user",
		"does not match regex pattern `^[a-z]{3}$`":      "must be 3 of the characters a-z",
		"does not match regex pattern `^(a(b|c)+)*?$`":   "does not match regex pattern `^(a(b|c)+)*?$`",
		"does not match regex pattern `(`":               "does not match regex pattern `(`",
		"must be greater than or equal to 1":             "must be greater than or equal to 1",
		"does not match regex pattern `^[A-Z0-9@._-]*$`": "must be any number of the characters 0-9 A-Z - . @ and _",
	} {
		if got := inWords(in); got != want {
			t.Errorf("%s: %q", in, got)
		}
	}
}

// The patterns of the contracts.
func TestPatternInWords(t *testing.T) {
	for pattern, want := range map[string]string{
		`^[a-z0-9][a-z0-9_-]{0,62}$`:             "1 to 63 of the characters 0-9 a-z - and _, the first of 0-9 and a-z",
		`^([a-z0-9][a-z0-9_-]{0,62})?$`:          "empty, or 1 to 63 of the characters 0-9 a-z - and _, the first of 0-9 and a-z",
		`^[a-z][a-z0-9-]{0,31}$`:                 "1 to 32 of the characters 0-9 a-z and -, the first of a-z",
		`^[0-9a-f]{64}$`:                         "64 of the characters 0-9 and a-f",
		`^sha256:[0-9a-f]{64}$`:                  `"sha256:" followed by 64 of the characters 0-9 and a-f`,
		`^(v?[1-9][0-9]{0,8}|sha256:[0-9a-f]+)$`: `an optional "v" followed by 1 of the characters 1-9 followed by 0 to 8 of the characters 0-9, or "sha256:" followed by at least 1 of the characters 0-9 and a-f`,
	} {
		if got, ok := patternInWords(pattern); !ok || got != want {
			t.Errorf("%s: %q", pattern, got)
		}
	}
}

func TestWithoutField(t *testing.T) {
	for in, want := range map[string]string{
		"n: must be positive": "must be positive", "n must be positive": "must be positive", "must be positive": "must be positive",
		"nothing is there": "nothing is there", "n": "n",
	} {
		if got := withoutField("n", in); got != want {
			t.Errorf("%s: %q", in, got)
		}
	}
	if got := withoutField("", "x"); got != "x" {
		t.Errorf("got %q", got)
	}
}
