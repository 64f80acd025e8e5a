package fetch

import (
	"path"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/config"
)

func TestParse(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	tests := map[string]struct{ shown, name string }{
		"https://Models.Example.com/a/b.gguf?sig=x":            {"https://models.example.com/a/b.gguf", "b.gguf"},
		"http://127.0.0.1:8080/a%20b":                          {"http://127.0.0.1:8080/a b", "a b"},
		"https://[::1]:1/x":                                    {"https://[::1]:1/x", "x"},
		"s3://bucket/some/key.gguf":                            {"s3://bucket/some/key.gguf", "key.gguf"},
		"oci://registry.example.com/llm/tiny:v1":               {"oci://registry.example.com/llm/tiny:v1", ""},
		"oci://localhost:5000/tiny#model.gguf":                 {"oci://localhost:5000/tiny:latest#model.gguf", "model.gguf"},
		"oci://r.example.com/tiny@sha256:" + hash:              {"oci://r.example.com/tiny@sha256:" + hash, ""},
		"oci://r.example.com/t:1#application/vnd.ollama.x.y":   {"oci://r.example.com/t:1#application/vnd.ollama.x.y", ""},
		"hf://Org/Name/model.gguf":                             {"hf://Org/Name@main/model.gguf", "model.gguf"},
		"hf://org/name@v1.0/1_Pooling/config.json":             {"hf://org/name@v1.0/1_Pooling/config.json", "1_Pooling/config.json"},
		"hf://org/name@" + hash[:40] + "/model-00001-of-2.bin": {"hf://org/name@" + hash[:40] + "/model-00001-of-2.bin", "model-00001-of-2.bin"},
	}
	for uri, want := range tests {
		ref, err := Parse(uri)
		if err != nil || ref.String() != want.shown || ref.FileName() != want.name {
			t.Errorf("%s: %s, named %q, %v", uri, ref, ref.FileName(), err)
		}
	}
	for _, uri := range []string{
		"", "x", "file:///a", "ftp://host/x", "https:x", "https:///x", "https://host", "https://host/", "https://host/a/", "https://user:s3cret@host/x",
		"https://host/a/../b", "https://host/a/%2e%2e/b", "https://host/a//b", "https://host/a%2fb", `https://host/a\b`, "https://host/a%5Cb", "https://host/a%00b",
		"https://host/x#y", "https://hôst/x", "https://host/" + strings.Repeat("a", 256), "https://host/" + strings.Repeat("a/", 40) + "b",
		"https://host/" + strings.Repeat("abcdefgh/", 250), "https://host/%ff",
		"s3://Bucket/x", "s3://b/x", "s3://bucket/x?versionId=1", "s3://bucket",
		"oci://host/UPPER:x", "oci://host/a:b:c", "oci://host/a@sha256:12", "oci://host/a@md5:1", "oci://host/a?x=y", "oci://host/a:",
		"hf://org/name", "hf://org/na me/x", "hf://org/name@refs%2Fpr%2F1/x", "hf://org/name@/x", "hf://org/name@a@b/x",
	} {
		if ref, err := Parse(uri); err == nil {
			t.Errorf("%q was taken for %s", uri, ref)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: the error repeats a password: %v", uri, err)
		}
	}
}

func TestPolicy(t *testing.T) {
	p := newPolicy([]string{"https://Host.example.com/llm/", "s3://bucket", "oci://r.example.com/team", "hf://Org", "http://127.0.0.1:80/x"})
	for uri, want := range map[string]bool{
		"https://host.example.com/llm/a": true, "https://HOST.example.com/llm": true,
		"https://host.example.com/llm2": false, "https://host.example.com/": false, "http://host.example.com/llm/a": false,
		"https://host.example.com:8443/llm/a": false, "https://host.example.com.evil.test/llm/a": false, "https://evil.test/host.example.com/llm": false,
		"s3://bucket/any/key": true, "s3://bucket2/key": false,
		"oci://r.example.com/team/m:1": true, "oci://r.example.com/team:1": true, "oci://r.example.com/teams/m:1": false,
		"hf://Org/name/x": true, "hf://Org/name@v1/x": true, "hf://Organ/name/x": false, "hf://org/name/x": false,
		"http://127.0.0.1:80/x/y": true, "http://127.0.0.1:8080/x/y": false,
	} {
		ref, err := Parse(uri)
		if got := err == nil && p.allows(ref); got != want {
			t.Errorf("%s: %v", uri, got)
		}
	}
	for _, all := range []string{"s3://", "hf://"} {
		if !newPolicy([]string{all}).allows(mustParse(t, all+"bucket/name/key")) {
			t.Errorf("%s does not allow all", all)
		}
	}
	if hostIn("evil-hf.co", []string{"*.hf.co"}) || hostIn("hf.co", []string{"*.hf.co"}) || !hostIn("a.b.HF.co", []string{"*.hf.co"}) {
		t.Error("subdomains are not told apart")
	}
}

func TestConfig(t *testing.T) {
	var good, bad config.Problems
	cfg := testConfig("https://host.example.com/llm", "s3://", "hf://org", "oci://r.example.com")
	cfg.Validate(&good, "r")
	if err := good.Err(); err != nil {
		t.Errorf("a good one: %v", err)
	}
	cfg = Config{
		Allow: []string{"https://", "*", "ftp://x", "https://user@host/x"}, RedirectHosts: []string{"HOST", "a*b"},
		S3: map[string]Bucket{"b": {Endpoint: "x", Region: "A B", AccessKeyID: "k"}}, OCI: map[string]Registry{"h": {Username: "u"}},
		HuggingFace: Hub{Endpoint: "https://u:p@host"},
	}
	cfg.Validate(&bad, "r")
	err := bad.Err()
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, key := range []string{
		"r.allow:", "r.redirect_hosts:", "r.s3.b.endpoint:", "r.s3.b.region:", "r.s3.b:", "r.oci.h:", "r.hugging_face.endpoint:",
		"r.connect_timeout:", "r.header_timeout:", "r.idle_timeout:",
	} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
	if n := strings.Count(err.Error(), "r.allow:"); n != 4 {
		t.Errorf("%d prefixes are refused, want 4: %v", n, err)
	}
}

// Whatever is parsed has a path that no server or file system takes for another,
// and reads the same when it is written and parsed again.
func FuzzParse(f *testing.F) {
	for _, uri := range []string{
		"https://host/a/b%20c?x=y", "s3://bucket/key", "oci://host:5000/a/b:tag#title", "oci://host/a@sha256:" + strings.Repeat("0", 64),
		"hf://org/name@rev/dir/file", "https://host/a/%2e%2e/b", "https://u:p@h/x", "hf://a/b@c@d/e", "http://[::1]:80/x",
	} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		ref, err := Parse(uri)
		if err != nil {
			return
		}
		if ref.Scheme != SchemeOCI && (path.Clean("/"+ref.Path) != "/"+ref.Path || strings.ContainsAny(ref.Path, "\\\x00")) {
			t.Errorf("%q has the path %q", uri, ref.Path)
		}
		if ref.Repository != "" && path.Clean("/"+ref.Repository) != "/"+ref.Repository {
			t.Errorf("%q has the repository %q", uri, ref.Repository)
		}
		if name := ref.FileName(); name != "" && path.Clean("/"+name) != "/"+name {
			t.Errorf("%q has the name %q", uri, name)
		}
		if newPolicy([]string{"https://allowed.test/x"}).allows(ref) && ref.Host != "allowed.test" {
			t.Errorf("%q is allowed", uri)
		}
	})
}
