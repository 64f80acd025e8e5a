package ireval

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Bounds of what is read.
const (
	maxLineBytes = 16 << 20
	maxFileBytes = 1 << 30
)

// Document is one document to search in.
type Document struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Text  string `json:"text"`
}

// Query is one question.
type Query struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Data are documents, and queries whose relevant ones are known.
type Data struct {
	Documents []Document
	Queries   []Query
	// Grades are the judgements by query.
	Grades map[string]Grades
}

// Read reads a directory with documents.jsonl (an object of id, title and text
// a line), queries.jsonl (id and text) and qrels.tsv (query, document and grade
// between tabs, with or without a heading). Other members are ignored, blank
// lines too. No file may be empty. What is wrong is told with its file and line; lines have at most
// 16 MiB, files 1 GiB.
func Read(dir string) (Data, error) {
	var out Data
	var err error
	if out.Documents, err = read(filepath.Join(dir, "documents.jsonl"), ReadDocuments); err != nil {
		return Data{}, err
	}
	if out.Queries, err = read(filepath.Join(dir, "queries.jsonl"), ReadQueries); err != nil {
		return Data{}, err
	}
	if out.Grades, err = read(filepath.Join(dir, "qrels.tsv"), ReadGrades); err != nil {
		return Data{}, err
	}
	for name, empty := range map[string]bool{
		"documents.jsonl": len(out.Documents) == 0, "queries.jsonl": len(out.Queries) == 0, "qrels.tsv": len(out.Grades) == 0,
	} {
		if empty {
			return Data{}, fmt.Errorf("%s: has nothing in it", filepath.Join(dir, name))
		}
	}
	return out, nil
}

func read[T any](path string, parse func(io.Reader) (T, error)) (out T, err error) {
	f, err := os.Open(path)
	if err != nil {
		return out, fmt.Errorf("evaluation data: %w", err)
	}
	defer f.Close()
	if out, err = parse(io.LimitReader(f, maxFileBytes)); err != nil {
		return out, fmt.Errorf("%s:%w", path, err)
	}
	if n, _ := f.Read(make([]byte, 1)); n > 0 {
		return out, fmt.Errorf("%s: more than %d bytes", path, int64(maxFileBytes))
	}
	return out, nil
}

// ReadDocuments reads documents, one a line. An error begins with its line.
func ReadDocuments(r io.Reader) ([]Document, error) {
	var out []Document
	seen := make(map[string]int)
	err := lines(r, func(n int, line []byte) error {
		var d Document
		if err := object(line, &d); err != nil {
			return err
		}
		out = append(out, d)
		return once(seen, d.ID, n)
	})
	return out, err
}

// ReadQueries reads queries, one a line. An error begins with its line.
func ReadQueries(r io.Reader) ([]Query, error) {
	var out []Query
	seen := make(map[string]int)
	err := lines(r, func(n int, line []byte) error {
		var q Query
		if err := object(line, &q); err != nil {
			return err
		}
		if strings.TrimSpace(q.Text) == "" {
			return errors.New("the query has no text")
		}
		out = append(out, q)
		return once(seen, q.ID, n)
	})
	return out, err
}

// ReadGrades reads judgements, one a line, by query. An error begins with its
// line.
func ReadGrades(r io.Reader) (map[string]Grades, error) {
	out := make(map[string]Grades)
	err := lines(r, func(n int, line []byte) error {
		fields := strings.Split(strings.TrimRight(string(line), "\r"), "\t")
		if len(fields) != 3 {
			return fmt.Errorf("a judgement is query, document and grade between tabs, got %d fields", len(fields))
		}
		query, document := fields[0], fields[1]
		grade, err := strconv.ParseFloat(strings.TrimSpace(fields[2]), 64)
		switch {
		case err != nil && n == 1:
			return nil // the heading
		case err != nil || math.IsNaN(grade) || math.Abs(grade) > maxGrade:
			return fmt.Errorf("the grade must be a number from -%d to %d, got %.40q", maxGrade, maxGrade, fields[2])
		case query == "" || document == "":
			return errors.New("the query or the document has no id")
		}
		if out[query] == nil {
			out[query] = make(Grades)
		}
		if _, ok := out[query][document]; ok {
			return fmt.Errorf("query %q has a grade of document %q already", query, document)
		}
		out[query][document] = grade
		return nil
	})
	return out, err
}

// maxGrade bounds a grade, so that sums of gains are exact enough.
const maxGrade = 1_000_000

// byteOrderMark is what some editors put before a text. It is none of it.
const byteOrderMark = "\ufeff"

// lines calls fn with every line that is not blank.
func lines(r io.Reader, fn func(n int, line []byte) error) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLineBytes)
	n := 0
	for scanner.Scan() {
		n++
		line := scanner.Bytes()
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte(byteOrderMark))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err := fn(n, line); err != nil {
			return fmt.Errorf("%d: %w", n, err)
		}
	}
	switch err := scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("%d: the line is longer than %d MiB", n+1, maxLineBytes>>20)
	case err != nil:
		return fmt.Errorf("%d: %w", n+1, err)
	}
	return nil
}

func object(line []byte, out any) error {
	err := json.Unmarshal(line, out)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field == "" {
			return fmt.Errorf("must be a JSON object, and is of the type %s", e.Value)
		}
		return fmt.Errorf("%q must be a string, and is of the type %s", e.Field, e.Value)
	}
	if err != nil {
		return fmt.Errorf("not a JSON object: %w", err)
	}
	return nil
}

// once notes the id of line n, which must be there and new.
func once(seen map[string]int, id string, n int) error {
	if id == "" {
		return errors.New("the id is missing")
	}
	if before, ok := seen[id]; ok {
		return fmt.Errorf("the id %q is that of line %d already", id, before)
	}
	seen[id] = n
	return nil
}
