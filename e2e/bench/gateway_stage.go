package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/poterne/poterne/e2e/bench/load"
	"github.com/poterne/poterne/e2e/process"
)

// The names of the gateways that are measured beside each other.
const (
	byNginx    = "NGINX"
	byAllInOne = "all-in-one"
	bySeparate = "separate processes"
	byGoModel  = "GoModel"
	byPortkey  = "Portkey"
	byLiteLLM  = "LiteLLM"
	direct     = "the engine itself"
)

// contender is a gateway that answers chats, each with a simulated engine of its own.
type contender struct {
	name string
	addr string
	// path, model and header are what a chat is asked with.
	path, model string
	header      [][2]string
	// pids are the processes whose work is counted: not the engine's.
	pids []int
}

// chat is a request for an answer of so many tokens.
func (c *contender) chat(tokens int, extra string) load.Request {
	return load.Request{Addr: c.addr, Path: c.path, Header: c.header, Body: fmt.Sprintf(
		`{"model":%q,"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"What is a postern, and who was let in by it?"}],"max_tokens":%d,"temperature":0.2%s}`,
		c.model, tokens, extra)}
}

// stage is the processes of a run.
type stage struct {
	dir     string
	running []*process.Process
	all     []*contender
	// edge is configuration of the edge besides, and up are flags of the all-in-one.
	edge string
	up   []string
}

func newStage() (*stage, error) {
	dir, err := os.MkdirTemp("", "poterne-bench-")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir}
	for _, d := range []string{"log", "run"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *stage) close() error {
	var errs []error
	for _, p := range slices.Backward(s.running) {
		errs = append(errs, p.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// stageTimeout bounds the start of a process; some of the others are slow.
const stageTimeout = 3 * time.Minute

// start starts a process, whose logs are quoted when it fails.
func (s *stage) start(ctx context.Context, spec process.Spec) (*process.Process, error) {
	spec.Dir = filepath.Join(s.dir, spec.Name)
	if err := os.MkdirAll(spec.Dir, 0o700); err != nil {
		return nil, err
	}
	p := process.New(spec, s.dir)
	s.running = append(s.running, p)
	ctx, cancel := context.WithTimeout(ctx, stageTimeout)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		log, _ := os.ReadFile(p.LogPath())
		return nil, fmt.Errorf("%w: %s", err, log[max(0, len(log)-2000):])
	}
	return p, nil
}

// addrs are n free addresses.
func addrs(ctx context.Context, n int) ([]string, error) {
	ports, err := process.FreePorts(ctx, n)
	out := make([]string, len(ports))
	for i, p := range ports {
		out[i] = "127.0.0.1:" + strconv.Itoa(p)
	}
	return out, err
}

// engine starts a simulated engine without delay, and returns its address.
func (s *stage) engine(ctx context.Context, name string) (string, *process.Process, error) {
	path, err := binary("poterne-sim")
	if err != nil {
		return "", nil, err
	}
	at, err := addrs(ctx, 1)
	if err != nil {
		return "", nil, err
	}
	_, port, _ := strings.Cut(at[0], ":")
	p, err := s.start(ctx, process.Spec{
		Name: "engine-" + name, Path: path, Args: []string{"--host", "127.0.0.1", "--port", port, "--model", simModel},
		Ready: process.HTTPReady("http://"+at[0]+"/health", nil),
	})
	return at[0], p, err
}

// simModel is what the models are called by those that ask an engine themselves.
const simModel = "sim-chat"

// enter adds a contender after one answer of it was seen.
func (s *stage) enter(ctx context.Context, c *contender) error {
	if _, err := load.Run(ctx, c.chat(4, ""), load.Options{Connections: 1, Requests: 1}); err != nil {
		return fmt.Errorf("%s does not answer: %w", c.name, err)
	}
	s.all = append(s.all, c)
	return nil
}

// direct is the engine without anything before it.
func (s *stage) direct(ctx context.Context) error {
	addr, p, err := s.engine(ctx, "direct")
	if err != nil {
		return err
	}
	return s.enter(ctx, &contender{name: direct, addr: addr, path: chatPath, model: simModel, pids: []int{p.Pid()}})
}

const chatPath = "/v1/chat/completions"

// nginxConf is a plain proxy that keeps its connections and writes no log, so that
// nothing is cheaper.
const nginxConf = `%[4]sworker_processes 2;
pid %[1]s/nginx.pid;
events { worker_connections 16384; }
http {
    access_log off;
    client_body_temp_path %[1]s/body;
    proxy_temp_path %[1]s/proxy;
    fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi;
    scgi_temp_path %[1]s/scgi;
    keepalive_requests 100000000;
    upstream engine { server %[3]s; keepalive 64; keepalive_requests 100000000; }
    server {
        listen %[2]s;
        location / {
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
}
`

// nginx is the plain proxy that all is compared with.
func (s *stage) nginx(ctx context.Context) error {
	path := os.Getenv("POTERNE_NGINX_BIN")
	if path == "" {
		return errors.New("NGINX is not there: scripts/components.sh servers, and POTERNE_NGINX_BIN says where")
	}
	engine, _, err := s.engine(ctx, "nginx")
	if err != nil {
		return err
	}
	at, err := addrs(ctx, 1)
	if err != nil {
		return err
	}
	dir := filepath.Join(s.dir, "nginx")
	asUser := ""
	if os.Geteuid() == 0 {
		asUser = "user root;\n"
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, at[0], engine, asUser), 0o600)); err != nil {
		return err
	}
	p, err := s.start(ctx, process.Spec{
		Name: "nginx", Path: path, Args: []string{"-p", dir, "-c", conf, "-e", filepath.Join(s.dir, "log", "nginx-errors.log"), "-g", "daemon off;"},
		StopSignal: syscall.SIGQUIT, Ready: process.TCPReady(at[0]),
	})
	if err != nil {
		return err
	}
	workers, err := childrenOf(p.Pid())
	if err != nil {
		return err
	}
	return s.enter(ctx, &contender{name: byNginx, addr: at[0], path: chatPath, model: simModel, pids: append(workers, p.Pid())})
}

// cli runs the command line against a gateway of ours and returns what it printed.
func cli(ctx context.Context, addr, key string, args ...string) ([]byte, error) {
	path, err := binary("poterne")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "POTERNE_URL=http://"+addr, "POTERNE_API_KEY="+key)
	out, err := cmd.Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("poterne %s: %w: %s", strings.Join(args, " "), err, e.Stderr)
	}
	return out, err
}
