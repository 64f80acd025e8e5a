//go:build real

package edge_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/corazawaf/coraza-coreruleset/v4/tests"
	"go.yaml.in/yaml/v3"

	"github.com/poterne/poterne/services/edge"
)

// caseFile is a file of the core rule set's regression cases, in the format of its
// go-ftw.
type caseFile struct {
	RuleID int `yaml:"rule_id"`
	Tests  []struct {
		ID     int `yaml:"test_id"`
		Stages []struct {
			Input struct {
				Headers        map[string]string `yaml:"headers"`
				Method         string            `yaml:"method"`
				URI            string            `yaml:"uri"`
				Data           string            `yaml:"data"`
				EncodedRequest string            `yaml:"encoded_request"`
			} `yaml:"input"`
			Output struct {
				Log struct {
					Expect []int `yaml:"expect_ids"`
					Not    []int `yaml:"no_expect_ids"`
				} `yaml:"log"`
			} `yaml:"output"`
		} `yaml:"stages"`
	} `yaml:"tests"`
}

const differences = "testdata/core-rule-set-differences.txt"

// Every regression case of the core rule set whose request this gateway can be
// sent goes through the whole of it: its path becomes a document's id or a
// collection's, its query stays, its form becomes members of a JSON body. The
// cases for which the rules then say something else than there are listed with a
// reason; any other one fails, and so does a listed one that no longer differs.
func TestRealCoreRuleSetCases(t *testing.T) {
	g, w := walled(t, func(c *edge.FirewallConfig) { c.Paranoia, c.Threshold = 4, 1 })
	known := readDifferences(t)
	var matching, refused, unsent int
	err := fs.WalkDir(tests.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(path, "REQUEST-") || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		raw, err := fs.ReadFile(tests.FS, path)
		if err != nil {
			return err
		}
		var f caseFile
		if err := yaml.Unmarshal(raw, &f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, c := range f.Tests {
			name := fmt.Sprintf("%d-%d", f.RuleID, c.ID)
			in, out := c.Stages[0].Input, c.Stages[0].Output.Log
			if len(c.Stages) > 1 || in.EncodedRequest != "" || len(out.Expect)+len(out.Not) == 0 {
				unsent++ // bytes that are no HTTP, conversations, and what a log line looks like
				continue
			}
			w.take()
			status := g.send(in.Method, in.URI, in.Headers, in.Data)
			found, asked := w.take()
			reason, differs := "", false
			for _, id := range out.Expect {
				if !slices.Contains(found, id) {
					reason, differs = fmt.Sprintf("%d is not found; status %d, found %v", id, status, found), true
				}
			}
			for _, id := range out.Not {
				if slices.Contains(found, id) {
					reason, differs = fmt.Sprintf("%d is found", id), true
				}
			}
			if differs && !asked && status >= 400 && status < 600 {
				refused++ // before any rule: no such method, media type, path or header here
				delete(known, name)
				continue
			}
			_, listed := known[name]
			delete(known, name)
			switch {
			case differs && !listed:
				t.Errorf("%s: %s", name, reason)
			case !differs && listed:
				t.Errorf("%s no longer differs: take it from %s", name, differences)
			case !differs:
				matching++
				if len(found) > 0 && status != http.StatusForbidden {
					t.Errorf("%s: found %v and answered %d", name, found, status)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		t.Errorf("%s is listed and was not sent", name)
	}
	t.Logf("%d cases as expected, %d refused before any rule, %d not sent", matching, refused, unsent)
	if matching < 3000 {
		t.Errorf("only %d cases were as expected", matching)
	}
}

func readDifferences(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open(differences)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := make(map[string]string)
	for in := bufio.NewScanner(f); in.Scan(); {
		if name, reason, ok := strings.Cut(in.Text(), " "); ok && !strings.HasPrefix(name, "#") {
			out[name] = reason
		}
	}
	return out
}

// send sends a case's request, as it would be sent to this gateway, byte by byte
// since no client would, and returns the status; 0 for no answer.
func (g *gate) send(method, uri string, header map[string]string, data string) int {
	g.t.Helper()
	path, query, has := strings.Cut(uri, "?")
	tail := strings.TrimPrefix(path, "/")
	for _, first := range []string{"get", "post", "upload", "anything", "login"} {
		if tail == first {
			tail = ""
		}
		tail = strings.TrimPrefix(tail, first+"/")
	}
	tail = strings.ReplaceAll(tail, "/", "%2F")
	if tail == "" {
		tail = "regression"
	}
	if method == "" {
		method = http.MethodGet
	}
	target := "/v1/collections/c/documents/" + tail
	if method == http.MethodPost || data != "" {
		target = "/v1/collections/" + tail + ":search"
	}
	if has {
		target += "?" + query
	}
	contentType := ""
	for name, value := range header {
		if strings.EqualFold(name, "Content-Type") {
			contentType = value
		}
	}
	form := contentType == "" || contentType == "application/x-www-form-urlencoded"
	if data != "" && form {
		data = asJSON(data)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nAuthorization: Bearer %s\r\n", method, target, g.key)
	for name, value := range header {
		switch {
		case strings.EqualFold(name, "Content-Type") && form,
			strings.EqualFold(name, "Authorization"), strings.EqualFold(name, "Content-Length") && form:
		default:
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	if _, ok := header["Host"]; !ok {
		b.WriteString("Host: localhost\r\n")
	}
	if form && (data != "" || method == http.MethodPost) {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(data))
	} else if _, ok := header["Content-Length"]; data != "" && !ok {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(data))
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write([]byte(b.String() + "\r\n" + data)); err != nil {
		return 0
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// asJSON is a form's fields as members of an object.
func asJSON(form string) string {
	out := make(map[string]any)
	for pair := range strings.SplitSeq(form, "&") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			name, value = "query", pair // names get a prefix here, which some patterns do not expect
		}
		for _, s := range []*string{&name, &value} {
			if plain, err := url.QueryUnescape(*s); err == nil {
				*s = plain
			}
		}
		name = strings.ToValidUTF8(name, "?")
		values, _ := out[name].([]string)
		out[name] = append(values, strings.ToValidUTF8(value, "?"))
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return "{}"
	}
	return string(raw)
}
