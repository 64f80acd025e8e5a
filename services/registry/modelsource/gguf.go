package modelsource

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

var ggufPart = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

func isProjector(name string) bool { return strings.HasPrefix(path.Base(name), "mmproj") }

// ggufs returns the GGUF models of the place: of one in parts the first.
func (r *reader) ggufs() []File {
	var out []File
	for _, f := range r.files {
		m := ggufPart.FindStringSubmatch(f.Path)
		if strings.HasSuffix(f.Path, ".gguf") && !isProjector(f.Path) && (len(m) == 0 || m[2] == "00001") {
			out = append(out, f)
		}
	}
	return out
}

func (r *reader) gguf(ctx context.Context) (*Found, error) {
	all := r.ggufs()
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.Path
	}
	if r.opts.File != "" {
		all = slices.DeleteFunc(slices.Clone(all), func(f File) bool { return f.Path != r.opts.File })
	}
	if len(all) != 1 {
		return nil, notServed("say which file is meant with --file: there are %s", strings.Join(names, ", "))
	}
	parts, err := r.parts(all[0])
	if err != nil {
		return nil, err
	}
	found := &Found{Spec: &commonv1.ModelSpec{Engine: "llama-server", Task: r.opts.Task}}
	for _, f := range parts {
		a, err := r.artifact(ctx, f, "weights")
		if err != nil {
			return nil, err
		}
		found.Spec.Artifacts = append(found.Spec.Artifacts, a)
	}
	for _, f := range r.files {
		if strings.HasSuffix(f.Path, ".gguf") && isProjector(f.Path) {
			a, err := r.artifact(ctx, f, "projector")
			if err != nil {
				return nil, err
			}
			found.Spec.Artifacts = append(found.Spec.Artifacts, a)
		}
	}
	return found, r.ggufTask(ctx, parts[0], found)
}

func (r *reader) parts(first File) ([]File, error) {
	m := ggufPart.FindStringSubmatch(first.Path)
	if m == nil {
		return []File{first}, nil
	}
	var out []File
	var count int
	if _, err := fmt.Sscanf(m[3], "%d", &count); err != nil || count > maxArtifacts {
		return nil, notServed("%s is one of more parts than %d", first.Path, maxArtifacts)
	}
	for i := 1; i <= count; i++ {
		name := fmt.Sprintf("%s-%05d-of-%s.gguf", m[1], i, m[3])
		f, ok := r.file(name)
		if !ok {
			return nil, notServed("%s is not there: the model is not whole", name)
		}
		out = append(out, f)
	}
	return out, nil
}

// ggufTask sets the task from the architecture that the file's head tells.
func (r *reader) ggufTask(ctx context.Context, f File, found *Found) error {
	in, err := r.place.Open(ctx, f.Path)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	defer func() { _ = in.Close() }()
	architecture, err := ggufArchitecture(in)
	if err != nil {
		return notServed("%s is no GGUF file: %v", f.Path, err)
	}
	if found.Spec.GetTask() != commonv1.Task_TASK_UNSPECIFIED {
		return nil
	}
	found.Spec.Task = commonv1.Task_TASK_CHAT
	if strings.Contains(architecture, "bert") {
		found.Spec.Task = commonv1.Task_TASK_EMBEDDING
	}
	return nil
}

// ggufArchitecture reads `general.architecture`, which converters write first
// (ggml's description of GGUF, versions 2 and 3). A file whose head does not begin
// with it is taken for one of a chat model: "" is returned.
func ggufArchitecture(in io.Reader) (string, error) {
	b := bufio.NewReader(in)
	var head struct {
		Magic         [4]byte
		Version       uint32
		Tensors, Keys uint64
	}
	if err := binary.Read(b, binary.LittleEndian, &head); err != nil || string(head.Magic[:]) != "GGUF" {
		return "", fmt.Errorf("it does not begin as one")
	}
	if head.Version < 2 || head.Version > 3 {
		return "", fmt.Errorf("version %d of the format is not known", head.Version)
	}
	key, err := ggufText(b)
	if err != nil || key != "general.architecture" {
		return "", err
	}
	var kind uint32
	if err := binary.Read(b, binary.LittleEndian, &kind); err != nil || kind != 8 { // a text
		return "", err
	}
	return ggufText(b)
}

func ggufText(in io.Reader) (string, error) {
	var n uint64
	if err := binary.Read(in, binary.LittleEndian, &n); err != nil {
		return "", err
	}
	if n > 1024 {
		return "", fmt.Errorf("a text of its head has %d bytes", n)
	}
	raw := make([]byte, n)
	_, err := io.ReadFull(in, raw)
	return string(raw), err
}
