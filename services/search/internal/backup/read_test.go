package backup

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
)

// What the hash is right of and a database could not keep is refused all the
// same, and not found out by the database.
func TestWhatCannotBeKeptIsRefused(t *testing.T) {
	whole := small(t)
	for was, is := range map[string]string{
		`"generation":9`:                       `"generation":9223372036854775807`,
		`"analyser":0`:                         `"analyser":9223372036854775807`,
		`"collection":"c"`:                     `"collection":"c","display_name":"\u0000"`,
		`"collection":"c",`:                    `"collection":"c","embedding_digest":"v3",`,
		`"create_time":"1970-01-01T00:00:01Z"`: `"create_time":"0001-01-01T00:00:00Z"`,
		`"update_time":"1970-01-01T00:00:02Z"`: `"update_time":"9999-01-01T00:00:00Z"`,
		`"text":"one"`:                         `"text":"\u0000"`,
		`"text":"two"`:                         `"text":"owt"`,
		`"headings":["Guide"]`:                 `"headings":["a\nb"]`,
	} {
		changed := reframed(t, whole, was, is)
		backup, err := Open(bytes.NewReader(changed))
		if err == nil {
			for _, verr := range backup.Versions("acme") {
				err = verr
			}
		}
		if apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%s: %v", is, err)
		}
	}
}

// reframed returns a backup with other JSON in one of its frames.
func reframed(t *testing.T, whole []byte, was, is string) []byte {
	t.Helper()
	r := bytes.NewReader(whole)
	if err := readStart(r); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	f, err := newFrames(&out)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for kind := byte(0); kind != frameEnd; {
		var b []byte
		if kind, b, err = readFrame(r, nil); err != nil {
			t.Fatal(err)
		}
		found = found || bytes.Contains(b, []byte(was))
		if err := f.write(kind, bytes.Replace(b, []byte(was), []byte(is), 1)); err != nil {
			t.Fatal(err)
		}
	}
	if !found {
		t.Fatalf("there is no %s", was)
	}
	sum := sha256.Sum256(out.Bytes())
	return append(out.Bytes(), sum[:]...)
}
