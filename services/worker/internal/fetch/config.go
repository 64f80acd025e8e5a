package fetch

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is the section "artifacts.remote".
type Config struct {
	// Allow is the prefixes of URIs that may be fetched, such as
	// https://models.example.com/llm, s3://models, oci://registry.example.com/llm
	// hf://organisation or registry://. A prefix ends where a segment of the path does. None
	// is allowed by default.
	Allow []string `yaml:"allow"`
	// RedirectHosts is the hosts that allowed sources may send on to, besides
	// themselves; `*.` in front stands for any subdomain. No credentials go there.
	RedirectHosts []string `yaml:"redirect_hosts"`
	// ConnectTimeout bounds the time to connect, and HeaderTimeout that from a
	// request to the beginning of its answer.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	HeaderTimeout  time.Duration `yaml:"header_timeout"`
	// IdleTimeout is how long a transfer may bring nothing.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// HTTP is what web servers want to see, by host (and port if not the usual).
	HTTP map[string]WebHost `yaml:"http"`
	// S3 is how buckets are reached, by name; `default` is for all others.
	S3 map[string]Bucket `yaml:"s3"`
	// OCI is what registries want to see, by host (and port if not the usual).
	OCI         map[string]Registry `yaml:"oci"`
	HuggingFace Hub                 `yaml:"hugging_face"`
}

// WebHost is one web server.
type WebHost struct {
	// Token is sent as a bearer token, over TLS or to this machine only.
	Token config.Secret `yaml:"token"`
}

// Bucket is how an S3 bucket is reached.
type Bucket struct {
	// Endpoint is the server's URL; empty is AWS's in Region.
	Endpoint string `yaml:"endpoint"`
	// Region is part of the signature; us-east-1 when empty.
	Region string `yaml:"region"`
	// AccessKeyID and SecretAccessKey sign requests; without them the bucket is
	// read anonymously. SessionToken belongs to temporary ones.
	AccessKeyID     string        `yaml:"access_key_id"`
	SecretAccessKey config.Secret `yaml:"secret_access_key"`
	SessionToken    config.Secret `yaml:"session_token"`
	// VirtualHost puts the bucket's name into the host instead of the path.
	VirtualHost bool `yaml:"virtual_host"`
}

// Registry is one OCI registry.
type Registry struct {
	Username string        `yaml:"username"`
	Password config.Secret `yaml:"password"`
	// AuthHost is the host that gives tokens, when it is not the registry itself.
	AuthHost string `yaml:"auth_host"`
	// PlainHTTP speaks without TLS. Registries on this machine are spoken to so
	// in any case.
	PlainHTTP bool `yaml:"plain_http"`
}

// Hub is a server with Hugging Face's layout.
type Hub struct {
	// Endpoint is the server's URL.
	Endpoint string        `yaml:"endpoint"`
	Token    config.Secret `yaml:"token"`
	// RedirectHosts are those that the hub may send on to.
	RedirectHosts []string `yaml:"redirect_hosts"`
}

const defaultBucket = "default"

// DefaultConfig returns the defaults: nothing is allowed.
func DefaultConfig() Config {
	return Config{
		ConnectTimeout: 10 * time.Second, HeaderTimeout: 30 * time.Second, IdleTimeout: 30 * time.Second,
		HuggingFace: Hub{Endpoint: "https://huggingface.co", RedirectHosts: []string{"*.huggingface.co", "*.hf.co"}},
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	for _, a := range c.Allow {
		problem := allowProblem(a)
		p.Check(problem == "", prefix+".allow", "%s", problem)
	}
	p.Check(c.ConnectTimeout > 0, prefix+".connect_timeout", "must be positive, got %v", c.ConnectTimeout)
	p.Check(c.HeaderTimeout > 0, prefix+".header_timeout", "must be positive, got %v", c.HeaderTimeout)
	p.Check(c.IdleTimeout > 0, prefix+".idle_timeout", "must be positive, got %v", c.IdleTimeout)
	checkHosts(p, prefix+".redirect_hosts", c.RedirectHosts)
	checkHosts(p, prefix+".hugging_face.redirect_hosts", c.HuggingFace.RedirectHosts)
	checkEndpoint(p, prefix+".hugging_face.endpoint", c.HuggingFace.Endpoint)
	for name, b := range c.S3 {
		at := prefix + ".s3." + name
		if b.Endpoint != "" {
			checkEndpoint(p, at+".endpoint", b.Endpoint)
		}
		p.Check(regexp.MustCompile(`^[a-z0-9-]{0,64}$`).MatchString(b.Region), at+".region", "must be lower-case letters, digits and dashes, got %q", b.Region)
		p.Check((b.AccessKeyID == "") == (b.SecretAccessKey == ""), at, "must have both access_key_id and secret_access_key, or neither")
	}
	for host, r := range c.OCI {
		p.Check((r.Username == "") == (r.Password == ""), prefix+".oci."+host, "must have both username and password, or neither")
	}
}

func checkHosts(p *config.Problems, key string, hosts []string) {
	host := regexp.MustCompile(`^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$`)
	for _, h := range hosts {
		p.Check(host.MatchString(h), key, "must be hosts in lower case, with *. in front for all subdomains, got %q", h)
	}
}

func checkEndpoint(p *config.Problems, key, endpoint string) {
	u, err := url.Parse(endpoint)
	p.Check(err == nil && (u.Scheme == SchemeHTTP || u.Scheme == SchemeHTTPS) && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "",
		key, "must be an http or https URL without credentials")
}

// allowProblem says what is wrong with a prefix.
func allowProblem(prefix string) string {
	scheme, rest, ok := strings.Cut(prefix, "://")
	switch {
	case !ok:
		return "must be prefixes of URIs such as https://models.example.com/llm"
	case scheme == SchemeS3 || scheme == SchemeHF || scheme == SchemeRegistry:
		return "" // all buckets, organisations and artifacts may be meant
	case scheme != SchemeHTTP && scheme != SchemeHTTPS && scheme != SchemeOCI:
		return "must have one of the schemes http, https, s3, oci, hf and registry"
	case rest == "" || strings.HasPrefix(rest, "/") || strings.ContainsAny(rest, "@?#*"):
		return "must name a host, and no credentials, query or wildcard"
	default:
		return ""
	}
}
