package e2e_test

import (
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/poterne/poterne/pkg/jose"
)

// vectorFile is a file of Wycheproof's: groups of tokens under one key, or a set.
type vectorFile struct {
	NumberOfTests int
	TestGroups    []struct {
		Public, Private json.RawMessage
		Tests           []vector
	}
}

type vector struct {
	TCID                 int
	Comment, JWS, Result string
}

// refused are valid tokens that we do not take, and why.
func refused() map[string]map[int]string {
	return map[string]map[int]string{
		"json_web_signature_test.json": {
			346: "PS384, by a key that says it is for PS256", 350: "PS384, by a key that says it is for PS256",
			347: "by a key for ES521, which is no algorithm", 351: "by a key for ES521, which is no algorithm",
			372: "a question mark in the header, which is not of base64url", 373: "a question mark in the payload",
		},
	}
}

// sound are tokens that are called invalid for a padding that their text does not
// have: without their question marks 372 and 373 are the same texts.
func sound() map[string]map[int]string {
	return map[string]map[int]string{"json_web_signature_test.json": {367: "canonical", 370: "canonical"}}
}

// Of the hostile tokens and keys of Wycheproof none is accepted, and of the good
// ones none is refused but those that are listed above.
func TestWycheproof(t *testing.T) {
	for _, name := range []string{"json_web_signature_test.json", "json_web_key_test.json"} {
		text, err := fs.ReadFile(wycheproof.TestVectors, name)
		if err != nil {
			t.Fatal(err)
		}
		var file vectorFile
		if err := json.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		tried := 0
		for _, g := range file.TestGroups {
			set, keyErr := keysOf(t, g.Public, g.Private)
			for _, v := range g.Tests {
				tried++
				want := v.Result == "valid"
				if sound()[name][v.TCID] != "" {
					want = true
				}
				if refused()[name][v.TCID] != "" {
					want = false
				}
				err := keyErr
				if err == nil {
					err = verify(v.JWS, set)
				}
				if (err == nil) != want {
					t.Errorf("%s %d, %s: %v, but it is %s", name, v.TCID, v.Comment, err, v.Result)
				}
			}
		}
		if tried != file.NumberOfTests || tried == 0 {
			t.Errorf("%s: tried %d of %d", name, tried, file.NumberOfTests)
		}
	}
}

func verify(token string, set jose.KeySet) error {
	parsed, err := jose.Parse(token)
	if err != nil {
		return err
	}
	_, err = parsed.Verify(set)
	return err
}

// keysOf reads a group's key or set as what it is: public keys, or secrets.
func keysOf(t *testing.T, public, private json.RawMessage) (jose.KeySet, error) {
	t.Helper()
	text := public
	if text == nil {
		text = private
	}
	type key struct{ Kty string }
	var is struct {
		key

		Keys []key
	}
	if err := json.Unmarshal(text, &is); err != nil {
		t.Fatal(err)
	}
	if is.Keys == nil {
		is.Keys = []key{is.key}
		text = json.RawMessage(`{"keys":[` + string(text) + `]}`)
	}
	return jose.ParseKeySet(text, jose.KeySetOptions{Secrets: is.Keys[0].Kty == "oct"})
}
