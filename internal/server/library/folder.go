package library

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy/bundle"
	"github.com/muster-id/muster/internal/policy/library"
)

// parts are the parts of a folder that belong to a library; the rest of it, such as
// a README or what builds it, is not looked at.
var parts = []string{File, strings.TrimSuffix(library.Policies, "/"), strings.TrimSuffix(library.Grants, "/"), strings.TrimSuffix(library.Tests, "/")}

// Folder reads a library from a folder, without generated files. Names that begin
// with '.' and Markdown are left out; any other file that a library cannot have is
// refused, because a policy with a misspelt name must not be left out in silence.
// Links are not followed but refused.
func Folder(dir string) (map[string]string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files, found, total := map[string]string{}, false, 0
	for _, part := range parts {
		err := fs.WalkDir(root.FS(), part, func(name string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && name == part {
				return nil
			}
			found = true
			switch base := path.Base(name); {
			case err != nil:
				return err
			case strings.HasPrefix(base, ".") && d.IsDir():
				return fs.SkipDir
			case d.IsDir() || strings.HasPrefix(base, ".") || strings.HasSuffix(base, ".md"):
				return nil
			case !d.Type().IsRegular():
				return nhi.Invalidf("%s is no regular file", filepath.Join(dir, name))
			}
			if err := bundle.CheckName(name); err != nil {
				return err
			}
			text, err := readFile(root, name)
			if err != nil {
				return err
			}
			files[name] = text
			if total += len(text); total > bundle.MaxTotal || len(files) > bundle.MaxFiles {
				return nhi.Invalidf("%s holds over %d files or %d bytes", dir, bundle.MaxFiles, bundle.MaxTotal)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, nhi.Invalidf("%s is no library of policies: it has none of %s", dir, strings.Join(parts, ", "))
	}
	return files, bundle.CheckFiles(files)
}

func readFile(root *os.Root, name string) (string, error) {
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, bundle.MaxFile+1))
	if err == nil && len(text) > bundle.MaxFile {
		err = nhi.Invalidf("%s has over %d bytes", name, bundle.MaxFile)
	}
	return string(text), err
}

// Write makes a folder what files say: it writes those, without generated ones, and
// removes other files of a library that lie there. It refuses, and changes nothing,
// if a file of a library in the folder is not one that it could read. What it wrote
// and removed is returned, by name.
func Write(dir string, files map[string]string) (written, removed []string, err error) {
	files = library.Source(files)
	if err := bundle.CheckFiles(files); err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	there, err := Folder(dir)
	if entries, _ := os.ReadDir(dir); err != nil && (!errors.Is(err, nhi.ErrInvalid) || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return slices.Contains(parts, e.Name()) })) {
		return nil, nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	for name, text := range files {
		if now, is := there[name]; is && now == text {
			continue
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return written, removed, err
		}
		if err := root.WriteFile(name, []byte(text), 0o644); err != nil {
			return written, removed, fmt.Errorf("write %s: %w", name, err)
		}
		written = append(written, name)
	}
	for name := range there {
		if _, stays := files[name]; stays {
			continue
		}
		if err := root.Remove(name); err != nil {
			return written, removed, err
		}
		removed = append(removed, name)
	}
	slices.Sort(written)
	slices.Sort(removed)
	return written, removed, nil
}
