package tlsfiles_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/devca"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/tlsfiles"
)

const bobID = "spiffe://test.example/ns/bob"

func section(dir string, ids ...string) tlsfiles.Config {
	f := filesIn(dir)
	return tlsfiles.Config{
		Mode: tlsfiles.ModeRequire, CertFile: f.CertFile, KeyFile: f.KeyFile, CAFile: f.CAFile, MinVersion: tlsfiles.Version13, AllowedIDs: ids,
	}
}

func options(c clock.Clock) tlsfiles.Options {
	return tlsfiles.Options{Name: "test", Clock: c, Telemetry: telemetry.Discard()}
}

// serve runs a gRPC server, and returns its address.
func serve(t *testing.T, creds credentials.TransportCredentials) string {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(creds))
	healthv1.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	return lis.Addr().String()
}

func serveSection(t *testing.T, c tlsfiles.Config, clk clock.Clock) string {
	t.Helper()
	creds, err := c.Server(options(clk))
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, creds)
}

// ask makes one connection for one call.
func ask(t *testing.T, addr string, creds credentials.TransportCredentials) error {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	return err
}

func client(t *testing.T, c tlsfiles.Config) credentials.TransportCredentials {
	t.Helper()
	creds, err := c.Client(options(clock.Real()))
	if err != nil {
		t.Fatal(err)
	}
	return creds
}

// raw is a client that cares for nothing, as an attacker's.
func raw(t *testing.T, ca *devca.Authority, ids []string, changes ...devca.Change) credentials.TransportCredentials {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS13}
	if ca != nil {
		cert, key, err := ca.Issue(ids, changes...)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		// Whatever authorities the server names.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return credentials.NewTLS(cfg)
}

func TestServerRefuses(t *testing.T) {
	ca, other, now := newCA(t), newCA(t), time.Now()
	addr := serveSection(t, section(write(t, ca, []string{aliceID}), bobID, "spiffe://test.example/team/*"), clock.Real())
	for name, c := range map[string]struct {
		creds credentials.TransportCredentials
		let   bool
	}{
		"allowed":             {raw(t, ca, []string{bobID}), true},
		"allowed by prefix":   {raw(t, ca, []string{"spiffe://test.example/team/a/b"}), true},
		"the prefix alone":    {raw(t, ca, []string{"spiffe://test.example/team"}), false},
		"beside the prefix":   {raw(t, ca, []string{"spiffe://test.example/teams/a"}), false},
		"another id":          {raw(t, ca, []string{aliceID}), false},
		"below an exact id":   {raw(t, ca, []string{bobID + "/more"}), false},
		"another domain":      {raw(t, ca, []string{"spiffe://evil.example/ns/bob"}), false},
		"no URI":              {raw(t, ca, nil), false},
		"two URIs":            {raw(t, ca, []string{bobID, aliceID}), false},
		"two of the same":     {raw(t, ca, []string{bobID, bobID}), false},
		"another authority":   {raw(t, other, []string{bobID}), false},
		"expired":             {raw(t, ca, []string{bobID}, devca.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour))), false},
		"no certificate":      {raw(t, nil, nil), false},
		"in the clear":        {insecure.NewCredentials(), false},
		"ours":                {client(t, section(write(t, ca, []string{bobID}), aliceID)), true},
		"ours, another's ids": {client(t, section(write(t, ca, []string{aliceID}), aliceID)), false},
	} {
		if err := ask(t, addr, c.creds); (err == nil) != c.let {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClientRefuses(t *testing.T) {
	ca, other, now := newCA(t), newCA(t), time.Now()
	creds := client(t, section(write(t, ca, []string{bobID}), aliceID))
	for name, c := range map[string]struct {
		ca      *devca.Authority
		ids     []string
		changes []devca.Change
		want    string
	}{
		"as expected":       {ca, []string{aliceID}, nil, ""},
		"another id":        {ca, []string{bobID}, nil, "is not among the ids"},
		"no URI":            {ca, nil, nil, "no URI"},
		"two URIs":          {ca, []string{aliceID, bobID}, nil, "more than one URI"},
		"another authority": {other, []string{aliceID}, nil, "unknown authority"},
		"expired":           {ca, []string{aliceID}, []devca.Change{devca.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour))}, "expired"},
	} {
		cert, key, err := c.ca.Issue(c.ids, c.changes...)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		addr := serve(t, credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}))
		err = ask(t, addr, creds)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := ask(t, serve(t, insecure.NewCredentials()), creds); err == nil {
		t.Error("a server in the clear was spoken with")
	}
}

func TestVersions(t *testing.T) {
	ca := newCA(t)
	for _, least := range []string{tlsfiles.Version13, tlsfiles.Version12} {
		cfg := section(write(t, ca, []string{aliceID}), bobID)
		cfg.MinVersion = least
		addr := serveSection(t, cfg, clock.Real())
		cert, key, err := ca.Issue([]string{bobID})
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			version uint16
			suites  []uint16
			let     bool
		}{
			"1.3":          {tls.VersionTLS13, nil, true},
			"1.2":          {tls.VersionTLS12, nil, least == tlsfiles.Version12},
			"1.2 with CBC": {tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}, false},
			"1.1":          {tls.VersionTLS11, nil, false},
		} {
			err := ask(t, addr, credentials.NewTLS(&tls.Config{
				InsecureSkipVerify: true, Certificates: []tls.Certificate{pair},
				MinVersion: tls.VersionTLS10, MaxVersion: c.version, CipherSuites: c.suites,
			}))
			if (err == nil) != c.let {
				t.Errorf("%s where the least is %s: %v", name, least, err)
			}
		}
	}
}

// An authority that is taken out of the bundle is trusted no more, on both sides
// and without a restart; while both are in it, nobody is refused.
func TestAuthorityIsReplaced(t *testing.T) {
	before, after := newCA(t), newCA(t)
	clk := clock.NewFake(time.Now())
	server := write(t, before, []string{aliceID})
	addr := serveSection(t, section(server, bobID), clk)
	old, fresh := section(write(t, before, []string{bobID}), aliceID), section(write(t, after, []string{bobID}), aliceID)
	check := func(when string, oldLet, freshLet bool) {
		t.Helper()
		clk.Advance(tlsfiles.Interval)
		for name, c := range map[string]struct {
			cfg tlsfiles.Config
			let bool
		}{"the old authority's": {old, oldLet}, "the new authority's": {fresh, freshLet}} {
			if err := ask(t, addr, client(t, c.cfg)); (err == nil) != c.let {
				t.Errorf("%s: %s: %v", when, name, err)
			}
		}
	}
	check("at first", true, false)
	both := append(before.PEM(), after.PEM()...)
	for _, c := range []tlsfiles.Config{old, fresh} {
		replace(t, c.CAFile, both)
	}
	replace(t, filesIn(server).CAFile, both)
	check("with both", true, true)
	rewrite(t, server, after, []string{aliceID})
	check("with the new one", false, true)
	replace(t, old.CAFile, before.PEM())
	replace(t, filesIn(server).CAFile, both)
	check("where the client knows the old one", false, true)
}

// Certificates that are replaced while connections are made fail none of them.
func TestReplacedUnderLoad(t *testing.T) {
	ca := newCA(t)
	dirs := []string{write(t, ca, []string{aliceID}), write(t, ca, []string{bobID})}
	clk := clock.NewFake(time.Now())
	addr := serveSection(t, section(dirs[0], bobID), clk)
	creds, err := section(dirs[1], aliceID).Client(options(clk))
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	done := make(chan struct{})
	for range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for asked.Add(1) < 200 {
				if err := ask(t, addr, creds); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	for ended := 0; ended < 4; {
		rewrite(t, dirs[0], ca, []string{aliceID})
		rewrite(t, dirs[1], ca, []string{bobID})
		clk.Advance(tlsfiles.Interval)
		select {
		case <-done:
			ended++
		default:
		}
	}
}

func TestValidate(t *testing.T) {
	good := section("/dir", aliceID)
	for name, c := range map[string]struct {
		change func(*tlsfiles.Config)
		want   string
	}{
		"good":           {func(*tlsfiles.Config) {}, ""},
		"off":            {func(c *tlsfiles.Config) { *c = tlsfiles.DefaultConfig() }, ""},
		"off with files": {func(c *tlsfiles.Config) { c.Mode = tlsfiles.ModeOff }, "x.tls.cert_file: is of no use in mode off"},
		"server":         {func(c *tlsfiles.Config) { c.Mode = tlsfiles.ModeServer }, "x.tls.mode: must be off or require"},
		"no key":         {func(c *tlsfiles.Config) { c.KeyFile = "" }, "x.tls.key_file"},
		"no ids":         {func(c *tlsfiles.Config) { c.AllowedIDs = nil }, "x.tls.allowed_ids: is needed"},
		"no id":          {func(c *tlsfiles.Config) { c.AllowedIDs = []string{"alice"} }, `"alice" is no SPIFFE id`},
		"a domain":       {func(c *tlsfiles.Config) { c.AllowedIDs = []string{"spiffe://test.example"} }, "nobody in it"},
		"a whole domain": {func(c *tlsfiles.Config) { c.AllowedIDs = []string{"spiffe://test.example/*"} }, ""},
		"everybody":      {func(c *tlsfiles.Config) { c.AllowedIDs = []string{"*"} }, "no SPIFFE id"},
		"an old version": {func(c *tlsfiles.Config) { c.MinVersion = "1.1" }, "x.tls.min_version: must be 1.3 or 1.2"},
	} {
		cfg := good
		c.change(&cfg)
		var p config.Problems
		cfg.Validate(&p, "x.tls")
		err := p.Err()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestRequirement(t *testing.T) {
	off, on := tlsfiles.DefaultConfig(), section("/dir", aliceID)
	for name, c := range map[string]struct {
		r    tlsfiles.Requirement
		ops  string
		grpc tlsfiles.Config
		want string
	}{
		"nothing required":  {tlsfiles.Requirement{}, "0.0.0.0:1", off, ""},
		"all there":         {tlsfiles.Requirement{RequireMTLS: true}, "127.0.0.1:1", on, ""},
		"no ops port":       {tlsfiles.Requirement{RequireMTLS: true}, "", on, ""},
		"in the clear":      {tlsfiles.Requirement{RequireMTLS: true}, "[::1]:1", off, "grpc.tls.mode: must be require"},
		"ops for everybody": {tlsfiles.Requirement{RequireMTLS: true}, ":9100", on, "telemetry.ops_addr: must be on loopback"},
		"ops elsewhere":     {tlsfiles.Requirement{RequireMTLS: true}, "10.1.2.3:9100", on, "telemetry.ops_addr"},
		"ops allowed":       {tlsfiles.Requirement{RequireMTLS: true, RemoteOps: true}, "10.1.2.3:9100", on, ""},
	} {
		var p config.Problems
		c.r.Validate(&p, c.ops, map[string]tlsfiles.Config{"grpc.tls": c.grpc})
		err := p.Err()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
