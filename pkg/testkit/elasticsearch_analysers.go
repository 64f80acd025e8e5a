package testkit

import (
	"archive/zip"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed analysers/Analysers.java
var analysersSource []byte

// ElasticsearchWithAnalysers is Elasticsearch with analysers of English and French,
// which the bare node lacks: Lucene's, as every whole Elasticsearch has them. It
// takes javac.
func ElasticsearchWithAnalysers(tb testing.TB) *ElasticsearchServer {
	tb.Helper()
	return startElasticsearch(tb, "http", addAnalysers, bareReady)
}

// addAnalysers compiles what is in analysers and gives it to the node in dir as a
// plugin.
func addAnalysers(dir string) error {
	plugin, work := filepath.Join(dir, "plugins", "poterne-analysers"), filepath.Join(dir, "tmp", "analysers")
	source := filepath.Join(work, "Analysers.java")
	for _, d := range []string{plugin, work} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(source, analysersSource, 0o600); err != nil {
		return err
	}
	javac := filepath.Join(javaHome(), "bin", "javac")
	if _, err := os.Stat(javac); err != nil {
		javac = "javac"
	}
	compile := exec.Command(javac, "-nowarn", "-cp", filepath.Join(dir, "lib", "*"), "-d", work, source) //nolint:noctx // bounded by its small source
	if out, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("compile the analysers: %w\n%s", err, out)
	}
	if err := os.Remove(source); err != nil {
		return err
	}
	if err := zipDir(work, filepath.Join(plugin, "poterne-analysers.jar")); err != nil {
		return err
	}
	// The version has to be the node's.
	core, err := os.ReadFile(filepath.Join(dir, "modules", "x-pack-core", "plugin-descriptor.properties"))
	if err != nil {
		return err
	}
	descriptor := []string{"name=poterne-analysers", "description=Analysers for tests", "classname=poterne.Analysers", "java.version=17"}
	for line := range strings.Lines(string(core)) {
		if strings.HasPrefix(line, "version=") || strings.HasPrefix(line, "elasticsearch.version=") {
			descriptor = append(descriptor, strings.TrimSpace(line))
		}
	}
	return os.WriteFile(filepath.Join(plugin, "plugin-descriptor.properties"), []byte(strings.Join(descriptor, "\n")+"\n"), 0o600)
}

// zipDir writes a directory's files into an archive.
func zipDir(dir, to string) (err error) {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := zip.NewWriter(f)
	files := os.DirFS(dir)
	err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		out, err := w.Create(path)
		if err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	})
	return errors.Join(err, w.Close())
}
