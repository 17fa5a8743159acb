package aws

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/connector"
	"github.com/muster-id/muster/internal/nhi"
)

// A reportRow is what the credential report says of one user.
type reportRow struct {
	passwordEnabled bool
	passwordChanged time.Time
	passwordUsed    time.Time
	keys            [2]reportKey
}

// A reportKey is an access key in the report, which does not name it.
type reportKey struct {
	active  bool
	rotated time.Time // when the key was made
	used    time.Time
}

// lastUse returns the last time that any credential of the user was used.
func (r reportRow) lastUse() time.Time {
	return slices.MaxFunc([]time.Time{r.passwordUsed, r.keys[0].used, r.keys[1].used}, time.Time.Compare)
}

// usedOf returns the last use of the key that was made at a time. The report
// knows seconds only.
func (r reportRow) usedOf(made time.Time) time.Time {
	for _, k := range r.keys {
		if !made.IsZero() && k.rotated.Equal(made.Truncate(time.Second)) {
			return k.used
		}
	}
	return time.Time{}
}

// rootUser is how the report calls the account itself.
const rootUser = "<root_account>"

// readReport reads a credential report: CSV, or the JSON of
// get-credential-report, whose field Content is the CSV in base64 (RFC 4648).
func (a *account) readReport(f connector.File) error {
	r, in, err := openBounded(f)
	if err != nil {
		return err
	}
	in.item = 0
	var text io.Reader = &unlimited{r, in}
	head, _ := r.Peek(1)
	if string(head) == "{" {
		content, err := unwrap(text)
		if err != nil {
			return nhi.Invalidf("%s: %v", f.Name, err)
		}
		text = bytes.NewReader(content)
	}
	if a.rows == nil {
		a.rows = make(map[string]reportRow)
	}
	if err := a.readCSV(f.Name, text); err != nil {
		if in.over != nil {
			return fmt.Errorf("%s: %w", f.Name, in.over)
		}
		return err
	}
	return nil
}

// unlimited lifts the bound on one item: rows are small whatever the file is.
type unlimited struct {
	r  io.Reader
	in *bounded
}

// Read implements io.Reader.
func (u *unlimited) Read(p []byte) (int, error) {
	u.in.item = 0
	return u.r.Read(p)
}

// maxWrapped bounds a report that comes inside JSON, which is held in memory.
const maxWrapped = 64 << 20

func unwrap(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxWrapped+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxWrapped {
		return nil, errors.New("the report in it is too large: decode its Content to a CSV file")
	}
	var wrapper struct{ Content []byte }
	err = json.Unmarshal(b, &wrapper)
	var syntax *json.SyntaxError
	var corrupt base64.CorruptInputError
	switch {
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("byte %d: %v: it is truncated or no JSON", syntax.Offset, syntax)
	case errors.As(err, &corrupt):
		return nil, fmt.Errorf("field Content: %v", corrupt)
	case err != nil || len(wrapper.Content) == 0:
		return nil, errors.New("no Content is in it: is it the output of aws iam get-credential-report?")
	}
	return wrapper.Content, nil
}

// readCSV reads the table. Columns are found by name: AWS adds some over time.
func (a *account) readCSV(name string, r io.Reader) error {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	header, err := c.Read()
	if err != nil {
		return lineError(name, err)
	}
	columns := make(map[string]int)
	for i, h := range header {
		columns[strings.ToLower(strings.TrimSpace(h))] = i
	}
	for _, need := range []string{"user", "arn", "password_enabled", "access_key_1_active", "access_key_1_last_rotated"} {
		if _, ok := columns[need]; !ok {
			return nhi.Invalidf("%s: line 1: no column %s: is it an IAM credential report?", name, need)
		}
	}
	for {
		record, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return lineError(name, err)
		}
		line, _ := c.FieldPos(0)
		get := func(column string) string {
			i, ok := columns[column]
			if !ok {
				return ""
			}
			return record[i]
		}
		if err := a.takeRow(name, get); err != nil {
			var foreign *foreignError
			if errors.As(err, &foreign) {
				return foreign.error
			}
			a.report.Add(connector.Problem{File: name, Where: fmt.Sprintf("line %d", line), What: clean(err.Error(), 300)})
		}
	}
}

func lineError(name string, err error) error {
	var parse *csv.ParseError
	switch {
	case errors.As(err, &parse) && errors.Is(parse.Err, csv.ErrFieldCount):
		return nhi.Invalidf("%s: line %d: not as many fields as the header: it is truncated or no credential report", name, parse.Line)
	case errors.As(err, &parse):
		return nhi.Invalidf("%s: line %d, column %d: %v", name, parse.Line, parse.Column, parse.Err)
	case err == io.EOF:
		return nhi.Invalidf("%s: the file is empty", name)
	case errors.Is(err, nhi.ErrTooLarge):
		return fmt.Errorf("%s: %w", name, err)
	}
	return nhi.Invalidf("%s: %v", name, err)
}

func (a *account) takeRow(file string, get func(string) string) error {
	if err := a.claim(file, get("arn")); err != nil {
		return err
	}
	user := get("user")
	if user == rootUser {
		return nil // it is in no list of identities; the logs know it
	}
	var r reportRow
	var errs []error
	when := func(column string) time.Time {
		t, err := reportTime(get(column))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", column, err))
		}
		return t
	}
	r.passwordEnabled = strings.EqualFold(get("password_enabled"), "true")
	r.passwordChanged, r.passwordUsed = when("password_last_changed"), when("password_last_used")
	r.keys[0] = reportKey{
		active:  strings.EqualFold(get("access_key_1_active"), "true"),
		rotated: when("access_key_1_last_rotated"), used: when("access_key_1_last_used_date"),
	}
	r.keys[1] = reportKey{
		active:  strings.EqualFold(get("access_key_2_active"), "true"),
		rotated: when("access_key_2_last_rotated"), used: when("access_key_2_last_used_date"),
	}
	a.rows[clean(user, 128)] = r
	return errors.Join(errs...)
}

// reportTime reads a time of the report, which has several words for none.
func reportTime(text string) (time.Time, error) {
	switch strings.ToLower(text) {
	case "", "n/a", "no_information", "not_supported":
		return time.Time{}, nil
	}
	return parseTime(text)
}
