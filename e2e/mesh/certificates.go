package mesh

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/poterne/poterne/pkg/devca"
)

// trustDomain is that of every certificate of the deployment.
const trustDomain = "spiffe://mesh.poterne.internal/"

// ID is the SPIFFE id of the processes of a kind: edge, inference, search,
// registry or worker.
func ID(kind string) string { return trustDomain + kind }

// callers says which kinds of processes may call each kind.
func callers() map[string][]string {
	return map[string][]string{
		"registry": {"edge", "inference", "worker"}, "search": {"edge"}, "inference": {"edge", "search"}, "worker": {"inference"},
	}
}

// called says which section of a kind's configuration is about which other kind.
func called() map[string]map[string]string {
	return map[string]map[string]string{
		"edge":      {"INFERENCE": "inference", "SEARCH": "search", "REGISTRY": "registry"},
		"inference": {"REGISTRY": "registry", "WORKERS": "worker"},
		"search":    {"INFERENCE": "inference"},
		"worker":    {"REGISTRY": "registry"},
	}
}

// certificateDirs are the directories that processes have their certificates in,
// by the name of the process.
func certificateDirs() map[string]string {
	return map[string]string{
		"registry": "registry", "search": "search", "inference-1": "inference", "inference-2": "inference",
		"worker-1": "worker", "worker-2": "worker", "edge-1": "edge", "edge-2": "edge",
	}
}

// IssueCertificates gives every process a new certificate of the deployment's
// authority, in place of the one that it has, as a rotation does.
func (m *Mesh) IssueCertificates() error {
	for name, kind := range certificateDirs() {
		if err := m.authority.WriteFiles(m.CertificateDir(name), []string{ID(kind)}); err != nil {
			return fmt.Errorf("certificate of %s: %w", name, err)
		}
	}
	return nil
}

// CertificateDir is where the files of a process's certificate lie.
func (m *Mesh) CertificateDir(name string) string { return m.state("tls", name) }

// Authority issues the certificates of the deployment.
func (m *Mesh) Authority() *devca.Authority { return m.authority }

// mutualTLS is the environment that has a process speak with others of the
// deployment over mutual TLS, and refuse to start otherwise.
func (m *Mesh) mutualTLS(name, kind string) map[string]string {
	env := map[string]string{"POTERNE_SECURITY_REQUIRE_MTLS": "true"}
	section := func(prefix string, ids []string) {
		for i, id := range ids {
			ids[i] = ID(id)
		}
		dir := m.CertificateDir(name)
		prefix = "POTERNE_" + prefix + "_TLS_"
		env[prefix+"MODE"] = "require"
		env[prefix+"CERT_FILE"] = filepath.Join(dir, devca.CertFile)
		env[prefix+"KEY_FILE"] = filepath.Join(dir, devca.KeyFile)
		env[prefix+"CA_FILE"] = filepath.Join(dir, devca.CAFile)
		env[prefix+"ALLOWED_IDS"] = strings.Join(ids, ",")
	}
	if ids := callers()[kind]; ids != nil {
		section("GRPC", ids)
	}
	for prefix, other := range called()[kind] {
		section(prefix, []string{other})
	}
	return env
}
