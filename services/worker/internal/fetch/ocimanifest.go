package fetch

import (
	"encoding/json"
	"regexp"
	"strings"
)

// manifest is an OCI image manifest or index, or Docker's older form of either;
// only what is needed of it.
type manifest struct {
	Layers    []layer `json:"layers"`
	Blobs     []layer `json:"blobs"` // of ORAS's former artifact manifests
	Manifests []layer `json:"manifests"`
}

type layer struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
}

// The bounds of manifests; 4 MiB is the specification's.
const (
	maxManifest  = 4 << 20
	maxLayers    = 1024
	maxManifests = 8
)

func manifestTypes() []string {
	return []string{strings.Join([]string{
		"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
		"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
		"application/vnd.oci.artifact.manifest.v1+json",
	}, ", ")}
}

func parseManifest(data []byte) (*manifest, error) {
	if len(data) > maxManifest {
		return nil, permanent(nil, "the manifest has more than %d bytes", maxManifest)
	}
	m := &manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, permanent(err, "the manifest is not one")
	}
	m.Layers = append(m.Layers, m.Blobs...)
	if len(m.Layers) > maxLayers || len(m.Manifests) > maxManifests {
		return nil, permanent(nil, "the manifest has more than %d layers or %d manifests", maxLayers, maxManifests)
	}
	digest := regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	for _, sub := range m.Manifests {
		if !digest.MatchString(sub.Digest) {
			return nil, permanent(nil, "the index names a manifest by another digest than SHA-256")
		}
	}
	return m, nil
}

// titles are the names that artifacts give the file of a layer.
func (l layer) titles() []string {
	return []string{
		l.Annotations["org.opencontainers.image.title"], // ORAS, and others
		l.Annotations["org.cncf.model.filepath"],        // ModelPack
		l.MediaType,                                     // Ollama has no titles
		strings.TrimPrefix(l.Annotations["org.opencontainers.image.title"], "./"), // as some write it
	}
}

func (m *manifest) find(r Request) (layer, error) {
	digest := "sha256:" + r.SHA256
	var named, other []string
	for _, l := range m.Layers {
		matches := r.Ref.Path == ""
		for _, t := range l.titles() {
			matches = matches || t == r.Ref.Path
		}
		switch {
		case matches && l.Digest == digest && l.isArchive():
			return layer{}, permanent(nil, "the layer is an archive (%s), not a file that an engine can read", clip(l.MediaType))
		case matches && l.Digest == digest && l.Size < 0:
			return layer{}, permanent(nil, "the manifest says that the layer has less than no bytes")
		case matches && l.Digest == digest:
			return l, nil
		case matches:
			named = append(named, clip(l.Digest))
		default:
			other = append(other, clip(l.titles()[0]+" "+l.MediaType))
		}
	}
	const shown = 8
	if r.Ref.Path != "" && len(named) > 0 {
		return layer{}, permanent(nil, "the layer %s has the digest %s, not %s", r.Ref.Path, strings.Join(first(named, shown), ", "), digest)
	}
	if r.Ref.Path != "" {
		return layer{}, permanent(nil, "no layer is titled, or has the media type, %s; there are: %s", r.Ref.Path, strings.Join(first(other, shown), ", "))
	}
	return layer{}, permanent(nil, "no layer has the digest %s; there are: %s", digest, strings.Join(first(named, shown), ", "))
}

func (l layer) isArchive() bool {
	t := strings.ToLower(l.MediaType)
	return strings.HasSuffix(t, "+gzip") || strings.HasSuffix(t, "+zstd") || strings.HasSuffix(t, ".tar") || strings.HasSuffix(t, "+tar") ||
		strings.HasSuffix(t, ".tar.gzip")
}

func first(list []string, n int) []string { return list[:min(n, len(list))] }

// clip bounds a text of others in a message, and takes what terminals obey out.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	const most = 100
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
