// Command gen compiles the address table of package geo. With no flags it
// fetches the two source packages with npm into a temporary folder; with
// -country and -asn it reads folders that hold the CSV files already, for
// machines without a package registry and for newer releases of the data.
package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"time"

	"github.com/muster-id/muster/internal/geo"
)

const (
	countryPackage = "@ip-location-db/geo-whois-asn-country"
	asnPackage     = "@ip-location-db/asn"
)

func main() {
	log.SetFlags(0)
	out := flag.String("out", "geo.bin", "file to write")
	country := flag.String("country", "", "folder with geo-whois-asn-country-ipv4.csv and -ipv6.csv (default: fetch)")
	asn := flag.String("asn", "", "folder with asn-ipv4.csv and asn-ipv6.csv (default: fetch)")
	date := flag.String("date", "", "date of the data, YYYY-MM-DD (default: from the version of the package)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *out, *country, *asn, *date); err != nil {
		log.Fatalf("gen: %v", err)
	}
}

func run(ctx context.Context, out, country, asn, date string) error {
	temp, err := os.MkdirTemp("", "geo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if country == "" {
		if country, err = fetch(ctx, temp, countryPackage); err != nil {
			return err
		}
	}
	if asn == "" {
		if asn, err = fetch(ctx, temp, asnPackage); err != nil {
			return err
		}
	}
	built, err := dataDate(date, country)
	if err != nil {
		return err
	}
	src := geo.Source{Built: built}
	for _, part := range []struct {
		to   *io.Reader
		name string
	}{
		{&src.Country4, filepath.Join(country, "geo-whois-asn-country-ipv4.csv")},
		{&src.Country6, filepath.Join(country, "geo-whois-asn-country-ipv6.csv")},
		{&src.ASN4, filepath.Join(asn, "asn-ipv4.csv")},
		{&src.ASN6, filepath.Join(asn, "asn-ipv6.csv")},
	} {
		f, err := os.Open(part.name)
		if err != nil {
			return err
		}
		defer f.Close()
		*part.to = f
	}
	data, err := geo.Compile(src)
	if err != nil {
		return err
	}
	return os.WriteFile(out, data, 0o644)
}

// fetch downloads and unpacks a package and returns its folder.
func fetch(ctx context.Context, temp, name string) (string, error) {
	dir := filepath.Join(temp, path.Base(name))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", name)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("npm pack %s: %w", name, err)
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return "", fmt.Errorf("npm pack %s left %d archives, want 1", name, len(archives))
	}
	return dir, unpack(archives[0], dir)
}

// unpack writes the regular files of an archive flat into dir: whatever path
// an entry claims, only its base name counts.
func unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", archive, err)
	}
	for r := tar.NewReader(zip); ; {
		entry, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", archive, err)
		}
		if entry.Typeflag != tar.TypeReg || entry.Size > 1<<28 {
			continue
		}
		to, err := os.Create(filepath.Join(dir, path.Base(entry.Name)))
		if err != nil {
			return err
		}
		_, err = io.CopyN(to, r, entry.Size)
		if err = errors.Join(err, to.Close()); err != nil {
			return fmt.Errorf("unpack %s: %w", archive, err)
		}
	}
}

// The version of the packages ends in the date of their data, then a counter.
var versionDate = regexp.MustCompile(`"version":\s*"\d+\.\d+\.(\d{8})\d*"`)

func dataDate(date, dir string) (time.Time, error) {
	if date != "" {
		return time.Parse(time.DateOnly, date)
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return time.Time{}, fmt.Errorf("no -date and no package.json: %w", err)
	}
	m := versionDate.FindSubmatch(manifest)
	if m == nil {
		return time.Time{}, errors.New("no date in the version of package.json; give -date")
	}
	return time.Parse("20060102", string(m[1]))
}
