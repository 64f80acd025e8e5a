package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// formOf is a form of parts, each name=value; that of the file is named file.
func formOf(tb testing.TB, parts ...string) string {
	tb.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary("b"); err != nil {
		tb.Fatal(err)
	}
	for _, p := range parts {
		name, value, _ := strings.Cut(p, "=")
		create := w.CreateFormField
		if name == "file" {
			create = func(string) (io.Writer, error) { return w.CreateFormFile("file", "../x.jsonl") }
		}
		part, err := create(name)
		if err != nil {
			tb.Fatal(err)
		}
		_, _ = part.Write([]byte(value))
	}
	_ = w.Close()
	return b.String()
}

// sent puts together what was sent on.
type sent struct {
	data, name, purpose string
	after               *edgev1.FileExpiresAfter
}

func (s *sent) send(r *edgev1.UploadFileRequest) error {
	s.data += string(r.GetData())
	if len(r.GetData()) > 1<<20 {
		return errors.New("it is refused")
	}
	if r.GetFilename() != "" {
		s.name = r.GetFilename()
	}
	if r.GetPurpose() != "" {
		s.purpose = r.GetPurpose()
	}
	if r.GetExpiresAfter() != nil {
		s.after = r.GetExpiresAfter()
	}
	return nil
}

func TestForm(t *testing.T) {
	large := strings.Repeat("0123456789", 70_000)
	for name, c := range map[string]struct {
		form   string
		want   string
		reason apierr.Reason
	}{
		"file last":     {formOf(t, "purpose=batch", "file=abc"), "abc x.jsonl batch", ""},
		"file first":    {formOf(t, "file="+large, "purpose=batch"), large + " x.jsonl batch", ""},
		"with an end":   {formOf(t, "file=abc", "expires_after[seconds]=3600", "purpose=batch", "expires_after[anchor]=created_at"), "abc x.jsonl batch 3600 created_at", ""},
		"an empty file": {formOf(t, "purpose=batch", "file="), " x.jsonl batch", ""},
		"no file":       {formOf(t, "purpose=batch"), "", apierr.InvalidArgument},
		"nothing":       {"", "", apierr.InvalidArgument},
		"cut in a file": {formOf(t, "purpose=batch", "file="+large)[:200_000], "", apierr.InvalidArgument},
		"cut at an end": {strings.TrimSuffix(formOf(t, "purpose=batch", "file=abc"), "--\r\n"), "", apierr.InvalidArgument},
		"cut before":    {strings.TrimSuffix(formOf(t, "purpose=batch", "file=abc"), "\r\n--b--\r\n"), "", apierr.InvalidArgument},
		"two files":     {formOf(t, "file=a", "file=b"), "", apierr.InvalidArgument},
		"two purposes":  {formOf(t, "purpose=batch", "purpose=batch", "file=b"), "", apierr.InvalidArgument},
		"fine-tune":     {formOf(t, "purpose=fine-tune", "file=b"), "", apierr.InvalidArgument},
		"more parts":    {formOf(t, "x=y", "file=b"), "", apierr.InvalidArgument},
		"a long part":   {formOf(t, "purpose="+strings.Repeat("x", 1000), "file=b"), "", apierr.InvalidArgument},
		"no number":     {formOf(t, "expires_after[seconds]=x", "file=b"), "", apierr.InvalidArgument},
		"a long header": {"--b\r\nContent-Disposition: form-data; name=\"file\"\r\nX: " + strings.Repeat("x", 80_000) + "\r\n\r\nabc\r\n--b--\r\n", "", apierr.PayloadTooLarge},
		"a preamble":    {strings.Repeat("x", 80_000) + "\r\n" + formOf(t, "file=a"), "", apierr.InvalidArgument},
	} {
		s := new(sent)
		err := sendForm(iotest.HalfReader(strings.NewReader(c.form)), "b", s.send)
		if c.reason != "" {
			if apierr.ReasonOf(err) != c.reason {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		got := fmt.Sprintf("%s %s %s", s.data, s.name, s.purpose)
		if s.after != nil {
			got += fmt.Sprintf(" %d %s", s.after.GetSeconds(), s.after.GetAnchor())
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %.200q, %v", name, got, err)
		}
	}
	// What the call refuses is received from it, and is no error of the form.
	if err := sendForm(strings.NewReader(formOf(t, "file=a")), "b", func(*edgev1.UploadFileRequest) error { return errors.New("no") }); err != nil {
		t.Error(err)
	}
}

// Whatever a form is, what is sent on is within its bounds, or there is an error of
// the caller's.
func FuzzForm(f *testing.F) {
	for _, s := range []string{
		formOf(f, "purpose=batch", "file=abc"), formOf(f, "file=abc", "expires_after[seconds]=3600"), "--b\r\n\r\n--b--", "", "--b--", "--b\r\nContent-Disposition: form-data; name=file; filename*=utf-8''%ff\r\n\r\nx\r\n--b--",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, form []byte) {
		s := new(sent)
		err := sendForm(bytes.NewReader(form), "b", s.send)
		if err != nil && apierr.From(err).HTTPStatus()/100 != 4 {
			t.Fatalf("%q: %v", form, err)
		}
		if len(s.data) > len(form) || len(s.name) > 255 || s.purpose != "" && s.purpose != "batch" || err == nil && !bytes.Contains(form, []byte("file")) {
			t.Fatalf("%q comes to %+v", form, s)
		}
	})
}
