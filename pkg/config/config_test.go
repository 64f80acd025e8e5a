package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

type settings struct {
	Server  server            `yaml:"server"`
	Store   store             `yaml:"store"`
	Labels  map[string]string `yaml:"labels"`
	Weights map[string]int    `yaml:"weights"`
	Routes  []route           `yaml:"routes"`
	Extra   *server           `yaml:"extra"`
	Hidden  string            `yaml:"-"`
	Untold  string
}

type server struct {
	Addr    string        `yaml:"addr"`
	Timeout time.Duration `yaml:"timeout"`
	MaxBody config.Bytes  `yaml:"max_body"`
	Hosts   []string      `yaml:"hosts"`
	Debug   bool          `yaml:"debug"`
	Ratio   float64       `yaml:"ratio"`
	Small   uint8         `yaml:"small"`
}

type store struct {
	DSN config.Secret `yaml:"dsn"`
}

type route struct {
	Path   string `yaml:"path"`
	Weight int    `yaml:"weight"`
}

func defaults() *settings {
	return &settings{Server: server{Addr: ":80", Timeout: time.Second, Hosts: []string{"default"}}}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLaterSourcesWin(t *testing.T) {
	cfg := defaults()
	err := config.Load(cfg, config.Sources{
		File: write(t, `
server:
  addr: file:1
  timeout: 1m30s
  max_body: 2MiB
  hosts: [a, b]
  ratio: 0.5
labels: {x: "1"}
routes:
  - {path: /a, weight: 2}
  - path: /b
`),
		Env: []string{
			"POTERNE_SERVER_ADDR=env:2", "POTERNE_SERVER_DEBUG=true", "POTERNE_LABELS=k=v, k2=v=2",
			"POTERNE_WEIGHTS={a: 1, b: 2}", "POTERNE_STORE_DSN=s3cret", "POTERNE_CACHE=ignored", "HOME=/x",
		},
		Flags: map[string]string{"server.addr": "flag:3", "server.hosts": "x, y,z"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &settings{
		Server: server{
			Addr: "flag:3", Timeout: 90 * time.Second, MaxBody: 2 * config.MiB,
			Hosts: []string{"x", "y", "z"}, Debug: true, Ratio: .5,
		},
		Store:   store{DSN: "s3cret"},
		Labels:  map[string]string{"k": "v", "k2": "v=2"},
		Weights: map[string]int{"a": 1, "b": 2},
		Routes:  []route{{"/a", 2}, {"/b", 0}},
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Fatalf("got  %+v\nwant %+v", cfg, want)
	}
}

func TestEveryProblemIsReportedOnce(t *testing.T) {
	cfg := defaults()
	file := write(t, `
server:
  adr: x
  timeout: soon
  small: 300
  small: 3
  hosts: one
  debug: yes
stor: {}
routes: [{weight: many}]
Untold: x
`)
	err := config.Load(cfg, config.Sources{
		File: file, Env: []string{"POTERNE_SERVER_MAX_BODY=2 parsecs", "POTERNE_WEIGHTS=a"},
		Flags: map[string]string{"server.adr": "x", "server.ratio": "half", "routes": "[{nope: 1}]"},
	})
	var problems config.Errors
	if !errors.As(err, &problems) {
		t.Fatalf("Load = %v", err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, strings.ReplaceAll(p.String(), file, "F"))
	}
	want := []string{
		`F:3:3: server.adr: unknown key (did you mean addr?)`,
		`F:4:12: server.timeout: must be a duration such as 5s or 1m30s, got "soon"`,
		`F:5:10: server.small: is out of range: 300`,
		`F:6:3: server.small: is given twice, first on line 5`,
		`F:7:10: server.hosts: must be a list`,
		`F:8:10: server.debug: must be true or false, got "yes"`,
		`F:9:1: stor: unknown key (did you mean store?)`,
		`F:10:19: routes[0].weight: must be a whole number, got "many"`,
		`F:11:1: Untold: unknown key`,
		`POTERNE_SERVER_MAX_BODY: server.max_body: "2 parsecs" has an unknown unit; use B, kB, MB, GB, TB, KiB, MiB, GiB or TiB`,
		`POTERNE_WEIGHTS: weights: must be written key=value,key=value`,
		`flag: routes[0].nope: unknown key`,
		`flag: server.adr: is not a setting (did you mean server.addr?)`,
		`flag: server.ratio: must be a number, got "half"`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !strings.HasPrefix(err.Error(), "the configuration has 14 problems:\n  ") {
		t.Fatalf("message: %v", err)
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	deep := strings.Repeat("{a: ", 40) + "1" + strings.Repeat("}", 40)
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"not YAML":        {"server: [", "is not valid YAML"},
		"two documents":   {"server: {}\n---\nserver: {}\n", "more than one YAML document"},
		"a list":          {"- a\n", "must be a section"},
		"a list as a key": {"? [a]\n: b\n", "a key must be a plain text"},
		"a section as a text": {
			"server: {addr: {a: b}}\n", "server.addr: must be a text",
		},
		"too deep":  {"extra: " + deep + "\n", "unknown key"},
		"too large": {"labels:\n" + strings.Repeat("  k: v\n", config.MaxFileBytes/7+1), "is larger than"},
		"a bomb":    {bomb.String() + "labels: {x: *a11}\n", "labels.x: must be a text"},
	} {
		t.Run(name, func(t *testing.T) {
			err := config.Load(defaults(), config.Sources{File: write(t, c.text)})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Load = %.300v, want %q", err, c.want)
			}
		})
	}
	if err := config.Load(defaults(), config.Sources{File: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "it is a directory") {
		t.Fatalf("Load of a directory = %v", err)
	}
	if err := config.Load(defaults(), config.Sources{File: "/no/such/file"}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Fatalf("Load of nothing = %v", err)
	}
	if err := config.Load(defaults(), config.Sources{File: write(t, "# nothing\n")}); err != nil {
		t.Fatalf("Load of an empty file = %v", err)
	}
}

func TestAliasBombIsBounded(t *testing.T) {
	type nested struct {
		Lists [][][][][][]string `yaml:"lists"`
	}
	var b strings.Builder
	item := strings.TrimSuffix(strings.Repeat("x,", 50), ",")
	b.WriteString("lists: [&a [&b [&c [&d [&e [" + item + "]")
	b.WriteString(strings.Repeat(",*e", 50) + "]" + strings.Repeat(",*d", 50) + "]" + strings.Repeat(",*c", 50) + "]" + strings.Repeat(",*b", 50) + "]]\n")
	err := config.Load(new(nested), config.Sources{File: write(t, b.String())})
	if err == nil || !strings.Contains(err.Error(), "too large or nested too deeply") {
		t.Fatalf("Load = %.200v", err)
	}
}

func TestSecretsComeFromFilesAndStayHidden(t *testing.T) {
	secret := write(t, "hunter2\n")
	cfg := defaults()
	if err := config.Load(cfg, config.Sources{File: write(t, "store: {dsn_file: "+secret+"}\n")}); err != nil || cfg.Store.DSN.Reveal() != "hunter2" {
		t.Fatalf("from YAML: %q, %v", cfg.Store.DSN.Reveal(), err)
	}
	cfg = defaults()
	if err := config.Load(cfg, config.Sources{Env: []string{"POTERNE_STORE_DSN_FILE=" + secret}}); err != nil || cfg.Store.DSN.Reveal() != "hunter2" {
		t.Fatalf("from the environment: %q, %v", cfg.Store.DSN.Reveal(), err)
	}
	err := config.Load(defaults(), config.Sources{Env: []string{"POTERNE_STORE_DSN_FILE=/no/such", "POTERNE_SERVER_ADDR_FILE=" + secret}})
	if err == nil || !strings.Contains(err.Error(), "POTERNE_STORE_DSN_FILE: store.dsn: its file /no/such cannot be read") {
		t.Fatalf("Load = %v", err)
	}
	err = config.Load(defaults(), config.Sources{Env: []string{"POTERNE_STORE_DSN_FILE=" + secret, "POTERNE_STORE_DSN=x"}})
	if err == nil || !strings.Contains(err.Error(), "is set twice") {
		t.Fatalf("Load = %v", err)
	}
	out, err := config.Marshal(cfg)
	if err != nil || strings.Contains(string(out), "hunter2") || !strings.Contains(string(out), config.Mask) {
		t.Fatalf("printed: %s %v", out, err)
	}
}

func TestPrintedConfigurationLoadsAgain(t *testing.T) {
	cfg := defaults()
	cfg.Server.MaxBody, cfg.Labels, cfg.Routes = 3*config.KiB, map[string]string{"a": "b"}, []route{{"/x", 1}}
	cfg.Extra = &server{Timeout: time.Minute}
	out, err := config.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "max_body: 3KiB\n") || !strings.Contains(string(out), "timeout: 1m0s\n") {
		t.Fatalf("printed:\n%s", out)
	}
	var again settings
	text := strings.ReplaceAll(string(out), "untold: \"\"\n", "")
	if err := config.Load(&again, config.Sources{File: write(t, text)}); err != nil {
		t.Fatal(err)
	}
	cfg.Weights = map[string]int{}
	again.Weights = map[string]int{}
	for _, s := range []*settings{cfg, &again} {
		if len(s.Extra.Hosts) == 0 {
			s.Extra.Hosts = nil
		}
	}
	if !reflect.DeepEqual(cfg, &again) {
		t.Fatalf("got  %+v\nwant %+v", again, cfg)
	}
}

func TestPaths(t *testing.T) {
	paths, err := config.Paths(&struct {
		A     store  `yaml:"a"`
		B     string `yaml:"b"`
		store `yaml:",inline"`
	}{})
	if err != nil || !reflect.DeepEqual(paths, []string{"a.dsn", "b"}) {
		t.Fatalf("Paths = %v, %v", paths, err)
	}
	if got := config.EnvName("server.max_recv-bytes"); got != "POTERNE_SERVER_MAX_RECV_BYTES" {
		t.Fatalf("EnvName = %q", got)
	}
	if _, err := config.Paths(settings{}); err == nil {
		t.Fatal("Paths of a value must fail")
	}
}

func FuzzLoad(f *testing.F) {
	for _, s := range []string{"server: {addr: x}", "routes: [{path: a}]", "a: &a [*a]", "labels: {? x : y}", "extra: {timeout: 1s}", "\x00", "server:\n\t- x"} {
		f.Add(s, "x", "1")
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text, env, flag string) {
		path := filepath.Join(dir, "fuzz.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := config.Load(defaults(), config.Sources{
			File: path, Env: []string{"POTERNE_ROUTES=" + env, "POTERNE_WEIGHTS=" + env, "POTERNE_EXTRA=" + env},
			Flags: map[string]string{"server.timeout": flag, "server.max_body": flag, "labels": flag},
		})
		var problems config.Errors
		if err != nil && (!errors.As(err, &problems) || len(problems) == 0) {
			t.Fatalf("Load = %v, want Errors", err)
		}
	})
}

func TestUnknownEnvironment(t *testing.T) {
	cfg := defaults()
	err := config.Load(cfg, config.Sources{Env: []string{
		"POTERNE_SERVER_ADR=:1", "POTERNE_STORE_DSN_FILES=/x", "POTERNE_URL=http://h", "POTERNE_SERVERS_ADDR=:2", "POTERNE_STOREDSN=x",
		"POTERNE_EDGE_SERVICE_HOST=10.0.0.1", "POTERNE_EDGE_SERVICE_PORT_HTTP=1", "POTERNE_EDGE_PORT=tcp://10.0.0.1:1",
		"POTERNE_EDGE_PORT_8080_TCP_ADDR=10.0.0.1", "POTERNE_LLAMA_SERVER=/x", "OTHER_POTERNE=1",
	}})
	var problems config.Errors
	if !errors.As(err, &problems) || len(problems) != 4 {
		t.Fatalf("problems: %v", err)
	}
	for _, name := range []string{
		"POTERNE_SERVER_ADR: is not a setting (did you mean POTERNE_SERVER_ADDR?)", "POTERNE_STORE_DSN_FILES",
		"POTERNE_SERVERS_ADDR", "POTERNE_STOREDSN: is not a setting (did you mean POTERNE_STORE_DSN?)",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}
