// Package config fills a struct from a strict YAML file, then from environment
// variables, then from flags, and reports every problem it met in one error.
// It knows no service's settings; start reading at Load.
//
// A field is named by its `yaml` tag; fields without a tag, or with `yaml:"-"`,
// are not settings. A nested struct is a section. The environment variable of
// a setting is POTERNE_ followed by its path in upper case, joined with "_":
// server.max_recv_bytes is POTERNE_SERVER_MAX_RECV_BYTES.
package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// EnvPrefix begins the name of every environment variable that is read.
const EnvPrefix = "POTERNE_"

// MaxFileBytes is the size above which a configuration file is refused.
const MaxFileBytes = 1 << 20

// Sources says where settings come from; later ones win: file, environment,
// flags.
type Sources struct {
	// File is the path of a YAML file; empty means none.
	File string
	// Env holds NAME=value pairs, as os.Environ returns them. A name that begins
	// with EnvPrefix and belongs to no setting is refused, but for those of other
	// programs that are known to share an environment with services.
	Env []string
	// Flags maps a setting's path (server.addr) to its value as text.
	Flags map[string]string
}

// Load fills dst, a pointer to a struct that holds the defaults. It returns
// Errors holding every problem; dst then holds what could be set.
//
// In the environment and in flags a list is written a,b,c and a map k=v,k2=v2;
// a value that begins with [ or { is read as YAML, which any list or map of
// structs needs. A Secret may be given as the path of a file that holds it:
// <key>_file in YAML, POTERNE_…_FILE in the environment.
func Load(dst any, src Sources) error {
	root, err := rootOf(dst)
	if err != nil {
		return err
	}
	var p Problems
	if src.File != "" {
		loadFile(&p, root, src.File)
	}
	loadEnv(&p, root, src.Env)
	loadFlags(&p, root, src.Flags)
	return p.Err()
}

func loadFile(p *Problems, root section, path string) {
	data, err := readLimited(path, MaxFileBytes)
	if err != nil {
		p.AddAt(path, "", "%v", err)
		return
	}
	d := decoder{problems: p, file: path}
	d.document(root, data)
}

// readLimited reads the file at path unless it holds more than limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot be read: %w", cause(err))
	case info.IsDir():
		return nil, errors.New("cannot be read: it is a directory")
	case info.Size() > limit:
		return nil, fmt.Errorf("is larger than %d bytes", limit)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", cause(err))
	}
	return data, nil
}

// cause drops the operation and path that the problem already names.
func cause(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

func loadEnv(p *Problems, root section, env []string) {
	values := ours(env)
	if len(values) == 0 {
		return
	}
	known := make(map[string]bool)
	for _, s := range root.settings("") {
		name := EnvName(s.path)
		known[name] = true
		if s.isSecret() {
			known[name+"_FILE"] = true
		}
		value, set := values[name]
		file, fileSet := values[name+"_FILE"]
		switch {
		case set && fileSet && s.isSecret():
			p.AddAt(name, s.path, "is set twice: by %s and by %s_FILE", name, name)
		case set:
			setText(p, name, s, value)
		case fileSet && s.isSecret():
			setSecretFile(p, name+"_FILE", s, file)
		}
	}
	refuseUnknown(p, values, known)
}

// RefuseUnknown notes in p every name of env, NAME=value pairs, that begins with
// EnvPrefix and that no program knows. It is for a program that has no settings
// in the environment: one that has them calls Load, which does the same.
func RefuseUnknown(p *Problems, env []string) { refuseUnknown(p, ours(env), nil) }

// ours is the variables of env that begin with EnvPrefix.
func ours(env []string) map[string]string {
	values := make(map[string]string)
	for _, kv := range env {
		if name, value, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, EnvPrefix) {
			values[name] = value
		}
	}
	return values
}

// refuseUnknown notes the names that belong to no setting and to no other
// program: misspelt settings, which would silently keep their defaults.
func refuseUnknown(p *Problems, values map[string]string, known map[string]bool) {
	for _, name := range sortedKeys(values) {
		if !known[name] && !otherName(name, values[name]) {
			p.AddAt("environment", name, "is not a setting%s", suggest(name, sortedKeys(known)))
		}
	}
}

func loadFlags(p *Problems, root section, flags map[string]string) {
	if len(flags) == 0 {
		return
	}
	byPath := make(map[string]setting)
	for _, s := range root.settings("") {
		byPath[s.path] = s
	}
	for _, path := range sortedKeys(flags) {
		if s, ok := byPath[path]; ok {
			setText(p, "flag", s, flags[path])
			continue
		}
		p.AddAt("flag", path, "is not a setting%s", suggest(path, sortedKeys(byPath)))
	}
}

// EnvName returns the environment variable that sets the setting at path.
func EnvName(path string) string {
	return EnvPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(path))
}

// Paths returns the path of every setting of cfg, a pointer to a struct, in
// the order of its fields.
func Paths(cfg any) ([]string, error) {
	root, err := rootOf(cfg)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range root.settings("") {
		out = append(out, s.path)
	}
	return out, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
