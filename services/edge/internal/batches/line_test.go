package batches

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

const chatURL = "/v1/chat/completions"

func lineOf(id, body string) string {
	return fmt.Sprintf(`{"custom_id":%q,"method":"POST","url":"/v1/chat/completions","body":%s}`, id, body)
}

func TestCheck(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxLines, cfg.MaxLineBytes = 5, 200
	for name, c := range map[string]struct {
		file string
		want string // code@line of each problem
	}{
		"good":              {lineOf("a", "{}") + "\n\n" + lineOf("b", `{"stream":false}`) + "\r\n", ""},
		"with a mark":       {"\xef\xbb\xbf" + lineOf("a", "{}"), ""},
		"empty":             {"\n \n", "empty_file@0"},
		"no JSON":           {lineOf("a", "{}") + "\nx", "invalid_json_line@2"},
		"an array":          {"[]", "invalid_json_line@1"},
		"two values":        {"{} {}", "invalid_json_line@1"},
		"cut off":           {lineOf("a", "{}")[:40], "invalid_json_line@1"},
		"no UTF-8":          {lineOf("a", `{"x":"`+"\xff"+`"}`), "invalid_json_line@1"},
		"members twice":     {`{"custom_id":"a","custom_id":"b"}`, "invalid_json_line@1"},
		"twice in the body": {lineOf("a", `{"model":"x","model":"y"}`), "invalid_json_line@1"},
		"no id":             {`{"method":"POST"}`, "invalid_custom_id@1"},
		"an empty id":       {lineOf("", "{}"), "invalid_custom_id@1"},
		"a number as id":    {`{"custom_id":1}`, "invalid_custom_id@1"},
		"the same id":       {lineOf("a", "{}") + "\n" + lineOf("b", "{}") + "\n" + strings.Replace(lineOf("a", "{}"), `"a"`, `"\u0061"`, 1), "duplicate_custom_id@3"},
		"another method":    {strings.Replace(lineOf("a", "{}"), "POST", "GET", 1), "invalid_method@1"},
		"another url":       {strings.Replace(lineOf("a", "{}"), "chat/", "", 1), "mismatched_endpoint@1"},
		"a url with more":   {strings.Replace(lineOf("a", "{}"), "completions", "completions?x=1", 1), "mismatched_endpoint@1"},
		"a path trick":      {strings.Replace(lineOf("a", "{}"), "/v1/chat", "/v1/../v1/chat", 1), "mismatched_endpoint@1"},
		"no body":           {strings.Replace(lineOf("a", "{}"), "{}", "null", 1), "invalid_body@1"},
		"a stream":          {lineOf("a", `{"stream":true}`), "invalid_body@1"},
		"a stream in words": {lineOf("a", `{"stream":"yes"}`), "invalid_body@1"},
		"several":           {"x\n" + lineOf("a", "[]") + "\n" + lineOf("b", "{}"), "invalid_json_line@1 invalid_body@2"},
		"too many":          {strings.Repeat("x\n", 6), "invalid_json_line@1 invalid_json_line@2 invalid_json_line@3 invalid_json_line@4 invalid_json_line@5 too_many_requests@6"},
		"too long":          {lineOf("a", "{}") + "\n" + lineOf("b", `{"x":"`+strings.Repeat("y", 200)+`"}`) + "\n", "line_too_long@2"},
	} {
		total, problems, err := check(t.Context(), strings.NewReader(c.file), chatURL, cfg)
		var got []string
		for _, p := range problems {
			got = append(got, fmt.Sprintf("%s@%d", p.Code, p.Line))
		}
		if text := strings.Join(got, " "); text != c.want || err != nil {
			t.Errorf("%s: %q of %d, %v", name, text, total, err)
		}
	}
	cfg.MaxLines = 1000
	if _, problems, _ := check(t.Context(), strings.NewReader(strings.Repeat("x\n", 900)), chatURL, cfg); len(problems) != maxProblems {
		t.Errorf("%d problems are told", len(problems))
	}
	broken := errors.New("broken")
	if _, _, err := check(t.Context(), io.MultiReader(strings.NewReader(lineOf("a", "{}")+"\n"), failing{broken}), chatURL, cfg); !errors.Is(err, broken) {
		t.Errorf("a reading that fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Whatever a line is, it is refused, or what is asked is what it says and one line.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		lineOf("a", "{}"), lineOf("ü\n", `{"a":[1,{"b":null}]}`), "", "{", "null", `{"custom_id":"\ud800"}`, lineOf("a", `{"stream":true}`),
		lineOf("a", strings.Repeat(`{"a":`, 200)+"1"+strings.Repeat("}", 200)), "\x00", "[" + lineOf("a", "{}") + "]",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		line, problem := decode(text, 7, chatURL)
		if problem != nil {
			if problem.Line != 7 || problem.Code == "" || problem.Message == "" {
				t.Fatalf("%+v", problem)
			}
			return
		}
		if !json.Valid(line.Body) || line.CustomID == "" || len(line.CustomID) > MaxCustomID || !utf8.ValidString(line.CustomID) || line.Number != 7 {
			t.Fatalf("%q is taken as %+v", text, line)
		}
		var said struct {
			ID   string          `json:"custom_id"`
			Body json.RawMessage `json:"body"`
		}
		if err := json.Unmarshal(text, &said); err != nil || said.ID != line.CustomID && utf8.ValidString(said.ID) || !bytes.Equal(said.Body, line.Body) {
			t.Fatalf("%q is taken as %+v: %v", text, line, err)
		}
		j := &job{batch: Batch{ID: idPrefix + "1"}}
		for _, body := range []string{`{"a": "\n"}`, "no JSON \xff", ""} {
			r := j.result(line, answer{status: 200, body: []byte(body)})
			var out struct {
				ID string `json:"custom_id"`
			}
			if err := json.Unmarshal(r.Data, &out); err != nil || out.ID != line.CustomID || bytes.IndexByte(r.Data, '\n') != len(r.Data)-1 {
				t.Fatalf("%q comes to %q: %v", text, r.Data, err)
			}
		}
	})
}
