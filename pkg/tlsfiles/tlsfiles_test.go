package tlsfiles_test

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/devca"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/tlsfiles"
)

const aliceID = "spiffe://test.example/alice"

func newCA(t *testing.T) *devca.Authority {
	t.Helper()
	ca, err := devca.New("an authority of a test")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// write puts a certificate with the ids in a new directory.
func write(t *testing.T, ca *devca.Authority, ids []string, changes ...devca.Change) string {
	t.Helper()
	dir := t.TempDir()
	rewrite(t, dir, ca, ids, changes...)
	return dir
}

func rewrite(t *testing.T, dir string, ca *devca.Authority, ids []string, changes ...devca.Change) {
	t.Helper()
	if err := ca.WriteFiles(dir, ids, changes...); err != nil {
		t.Fatal(err)
	}
}

func filesIn(dir string) tlsfiles.Files {
	return tlsfiles.Files{
		CertFile: filepath.Join(dir, devca.CertFile), KeyFile: filepath.Join(dir, devca.KeyFile), CAFile: filepath.Join(dir, devca.CAFile),
	}
}

func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := devca.Replace(path, data); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOpenRefuses(t *testing.T) {
	ca, now := newCA(t), time.Now()
	for name, c := range map[string]struct {
		ids  []string
		made []devca.Change
		harm func(f tlsfiles.Files)
		want string
	}{
		"expired":         {made: []devca.Change{devca.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour))}, want: "has expired"},
		"not good yet":    {made: []devca.Change{devca.Valid(now.Add(time.Hour), now.Add(2*time.Hour))}, want: "is good from"},
		"no URI":          {ids: []string{}, want: "no URI"},
		"two URIs":        {ids: []string{aliceID, "https://test.example"}, want: "more than one URI"},
		"another URI":     {ids: []string{"https://test.example/alice"}, want: "no SPIFFE id"},
		"a trust domain":  {ids: []string{"spiffe://test.example"}, want: "nobody in it"},
		"an authority's":  {made: []devca.Change{func(c *x509.Certificate) { c.IsCA = true }}, want: "is an authority's"},
		"not for signing": {made: []devca.Change{func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }}, want: "not for signing"},
		"another's key": {harm: func(f tlsfiles.Files) {
			replace(t, f.KeyFile, contents(t, filesIn(write(t, ca, []string{aliceID})).KeyFile))
		}, want: "private key does not match"},
		"half a chain": {harm: func(f tlsfiles.Files) {
			whole := contents(t, f.CertFile)
			replace(t, f.CertFile, append(whole, whole[:len(whole)/2]...))
		}, want: "cut off"},
		"half a bundle": {harm: func(f tlsfiles.Files) {
			whole := contents(t, f.CAFile)
			replace(t, f.CAFile, append(whole, whole[:len(whole)/2]...))
		}, want: "cut off"},
		"no bundle":          {harm: func(f tlsfiles.Files) { replace(t, f.CAFile, nil) }, want: "holds no certificate"},
		"a bundle of none":   {harm: func(f tlsfiles.Files) { replace(t, f.CAFile, contents(t, f.CertFile)) }, want: "no certificate authority's"},
		"keys in a bundle":   {harm: func(f tlsfiles.Files) { replace(t, f.CAFile, contents(t, f.KeyFile)) }, want: `a block of type "PRIVATE KEY"`},
		"everybody's key":    {harm: func(f tlsfiles.Files) { chmod(t, f.KeyFile, 0o644) }, want: "has mode 0644"},
		"a group's to write": {harm: func(f tlsfiles.Files) { chmod(t, f.KeyFile, 0o660) }, want: "has mode 0660"},
		"a huge file":        {harm: func(f tlsfiles.Files) { replace(t, f.CertFile, bytes.Repeat([]byte("x"), 1<<20+1)) }, want: "larger than"},
		"no file":            {harm: func(f tlsfiles.Files) { _ = os.Remove(f.CertFile) }, want: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.ids == nil {
				c.ids = []string{aliceID}
			}
			f := filesIn(write(t, ca, c.ids, c.made...))
			if c.harm != nil {
				c.harm(f)
			}
			_, err := tlsfiles.Open(f, tlsfiles.Options{Name: "test", Clock: clock.Real(), Telemetry: telemetry.Discard(), SPIFFE: true})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "BEGIN") {
				t.Errorf("the error shows what is in a file: %v", err)
			}
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// rig is files that are read again as a clock says.
type rig struct {
	dir    string
	clock  *clock.Fake
	source *tlsfiles.Source
	logs   *bytes.Buffer
	tel    *telemetry.Telemetry
}

func open(t *testing.T, dir string) *rig {
	t.Helper()
	r := &rig{dir: dir, clock: clock.NewFake(time.Now()), logs: new(bytes.Buffer)}
	var err error
	if r.tel, err = telemetry.New(t.Context(), "test", "test", telemetry.DefaultConfig(""), telemetry.WithLogWriter(r.logs)); err != nil {
		t.Fatal(err)
	}
	if r.source, err = tlsfiles.Open(filesIn(dir), tlsfiles.Options{Name: "test", Clock: r.clock, Telemetry: r.tel, SPIFFE: true}); err != nil {
		t.Fatal(err)
	}
	return r
}

// serial is the certificate's after the next look at the files.
func (r *rig) serial() string {
	r.clock.Advance(tlsfiles.Interval)
	return r.source.Current().Certificate.Leaf.SerialNumber.String()
}

func (r *rig) metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := r.tel.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return 0
}

func TestWhatChangedIsTaken(t *testing.T) {
	ca := newCA(t)
	r := open(t, write(t, ca, []string{aliceID}))
	first := r.serial()
	rewrite(t, r.dir, ca, []string{aliceID})
	if r.source.Current().Certificate.Leaf.SerialNumber.String() != first {
		t.Error("the files were looked at twice in a second")
	}
	second := r.serial()
	if second == first {
		t.Fatal("the new certificate was not taken")
	}
	if n := r.metric(t, "poterne_tls_reloads_total"); n != 1 {
		t.Errorf("%v reloads", n)
	}
	if left := r.metric(t, "poterne_tls_certificate_expiry_seconds"); left < 23*3600 || left > 24*3600 {
		t.Errorf("expires in %v s", left)
	}
	r.clock.Advance(25 * time.Hour)
	if left := r.metric(t, "poterne_tls_certificate_expiry_seconds"); left > -3000 {
		t.Errorf("a day later: expires in %v s", left)
	}
}

func TestWhatDoesNotFitIsNotTaken(t *testing.T) {
	ca := newCA(t)
	r := open(t, write(t, ca, []string{aliceID}))
	first := r.serial()
	next := write(t, ca, []string{aliceID})
	// One after the other, as it is written by hand.
	key := contents(t, filesIn(next).KeyFile)
	replace(t, filesIn(r.dir).KeyFile, key[:len(key)/2])
	for range 3 {
		if r.serial() != first {
			t.Fatal("half a key was taken")
		}
	}
	replace(t, filesIn(r.dir).KeyFile, key)
	if r.serial() != first {
		t.Fatal("another's key was taken")
	}
	if n := r.metric(t, "poterne_tls_reload_failures_total"); n != 4 {
		t.Errorf("%v failures are counted of 4", n)
	}
	if n := strings.Count(r.logs.String(), "the last ones go on"); n != 2 {
		t.Errorf("logged %d times, want once each:\n%s", n, r.logs)
	}
	if strings.Contains(r.logs.String(), string(key[40:60])) {
		t.Error("the log shows the key")
	}
	replace(t, filesIn(r.dir).CertFile, contents(t, filesIn(next).CertFile))
	if r.serial() == first {
		t.Error("the pair that fits was not taken")
	}
}

// Kubernetes keeps what is mounted behind a link that it replaces.
func TestALinkThatIsReplaced(t *testing.T) {
	ca, dir := newCA(t), t.TempDir()
	link := func(target string) {
		tmp := filepath.Join(dir, "..tmp")
		if err := os.Symlink(target, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	link(write(t, ca, []string{aliceID}))
	for _, name := range []string{devca.CertFile, devca.KeyFile, devca.CAFile} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, dir)
	first := r.serial()
	link(write(t, ca, []string{aliceID}))
	if r.serial() == first {
		t.Error("the new certificate was not taken")
	}
}
