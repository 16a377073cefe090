//! Which functions make their result from their arguments and the session alone.
//! Source: Snowflake documentation, "All functions (alphabetical)".

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, ObjectNamePart, Value,
};

use crate::{Elsewhere, upper::Upper};

/// What a call can reach.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Its arguments.
    Arguments,
    /// Nobody here knows: somebody's own function, or one of Snowflake's that reads what its arguments name.
    Unknown(String),
    /// Something else than its arguments.
    Elsewhere(Elsewhere),
}

/// What a call of a scalar or aggregate function can reach.
pub(crate) fn reach(name: &ObjectName) -> Reach {
    let [part] = name.0.as_slice() else {
        // Own functions have qualified names, and so have those of Snowflake that call a model.
        return qualified(name);
    };
    let ObjectNamePart::Identifier(ident) = part else {
        return Reach::Elsewhere(Elsewhere::Identifier);
    };
    let upper = Upper::of(&ident.value);
    let full = || ident.value.to_uppercase();
    match upper.as_str() {
        _ if is_system(&ident.value) => Reach::Elsewhere(Elsewhere::SystemFunction(full())),
        "IDENTIFIER" => Reach::Elsewhere(Elsewhere::Identifier),
        "RESULT_SCAN" => Reach::Elsewhere(Elsewhere::ResultScan),
        "GET_PRESIGNED_URL"
        | "BUILD_SCOPED_FILE_URL"
        | "BUILD_STAGE_FILE_URL"
        | "GET_STAGE_LOCATION"
        | "TO_FILE" => Reach::Elsewhere(Elsewhere::FileUrl(full())),
        // A quoted name is upper case only if it is written so.
        _ if (ident.quote_style.is_none() || ident.value == *upper) && is_own(&upper) => Reach::Arguments,
        _ => Reach::Unknown(full()),
    }
}

/// Whether a name is that of one of the functions that read and change the system itself.
fn is_system(name: &str) -> bool {
    let prefix = "SYSTEM$";
    name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
}

/// Whether a call ends the statements that run in this session and nothing else. Snowpark makes one when it closes its
/// session, with the session's number as it stands.
pub(crate) fn ends_statements_of(call: &Function, session: u64) -> bool {
    let [ObjectNamePart::Identifier(name)] = call.name.0.as_slice() else { return false };
    let FunctionArguments::List(list) = &call.args else { return false };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(argument)))] = list.args.as_slice() else {
        return false;
    };
    name.value.eq_ignore_ascii_case("SYSTEM$CANCEL_ALL_QUERIES")
        && matches!(&argument.value, Value::Number(number, _) if number.parse() == Ok(session))
}

/// What a call in the place of a table can reach.
pub(crate) fn table_reach(name: &ObjectName) -> Reach {
    let last = match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] if ident.quote_style.is_none() => ident.value.to_uppercase(),
        _ => return Reach::Elsewhere(Elsewhere::TableFunction(name.to_string())),
    };
    match last.as_str() {
        "FLATTEN" | "GENERATOR" | "SPLIT_TO_TABLE" | "STRTOK_SPLIT_TO_TABLE" => Reach::Arguments,
        "RESULT_SCAN" => Reach::Elsewhere(Elsewhere::ResultScan),
        _ => Reach::Elsewhere(Elsewhere::TableFunction(last)),
    }
}

fn qualified(name: &ObjectName) -> Reach {
    let has_system_part = name.0.iter().any(|part| match part {
        ObjectNamePart::Identifier(ident) => is_system(&ident.value),
        ObjectNamePart::Function(_) => true,
    });
    let text = name.to_string();
    if has_system_part { Reach::Elsewhere(Elsewhere::SystemFunction(text)) } else { Reach::Unknown(text) }
}

fn is_own(upper: &str) -> bool {
    OWN.binary_search(&upper).is_ok()
}

/// Sorted. Left out on purpose: what reads an object that its argument names (`GET_DDL`, `EXTRACT_SEMANTIC_CATEGORIES`),
/// what calls a model (`AI_…`), and what opens staged files.
#[rustfmt::skip]
const OWN: &[&str] = &[
    "ABS", "ACOS", "ACOSH", "ADD_MONTHS", "ANY_VALUE", "APPROXIMATE_JACCARD_INDEX",
    "APPROXIMATE_SIMILARITY", "APPROX_COUNT_DISTINCT", "APPROX_PERCENTILE", "APPROX_PERCENTILE_ACCUMULATE",
    "APPROX_PERCENTILE_COMBINE", "APPROX_PERCENTILE_ESTIMATE", "APPROX_TOP_K", "APPROX_TOP_K_ACCUMULATE",
    "APPROX_TOP_K_COMBINE", "APPROX_TOP_K_ESTIMATE", "ARRAYAGG", "ARRAYS_OVERLAP", "ARRAYS_TO_OBJECT",
    "ARRAYS_ZIP", "ARRAY_AGG", "ARRAY_APPEND", "ARRAY_CAT", "ARRAY_COMPACT", "ARRAY_CONSTRUCT",
    "ARRAY_CONSTRUCT_COMPACT", "ARRAY_CONTAINS", "ARRAY_DISTINCT", "ARRAY_EXCEPT", "ARRAY_FLATTEN",
    "ARRAY_GENERATE_RANGE", "ARRAY_INSERT", "ARRAY_INTERSECTION", "ARRAY_MAX", "ARRAY_MIN",
    "ARRAY_POSITION", "ARRAY_PREPEND", "ARRAY_REMOVE", "ARRAY_REMOVE_AT", "ARRAY_REVERSE", "ARRAY_SIZE",
    "ARRAY_SLICE", "ARRAY_SORT", "ARRAY_TO_STRING", "ARRAY_UNION_AGG", "ARRAY_UNIQUE_AGG", "ASCII", "ASIN",
    "ASINH", "AS_ARRAY", "AS_BINARY", "AS_BOOLEAN", "AS_CHAR", "AS_DATE", "AS_DECIMAL", "AS_DOUBLE",
    "AS_INTEGER", "AS_NUMBER", "AS_OBJECT", "AS_REAL", "AS_TIME", "AS_TIMESTAMP_LTZ", "AS_TIMESTAMP_NTZ",
    "AS_TIMESTAMP_TZ", "AS_VARCHAR", "ATAN", "ATAN2", "ATANH", "AVG", "BASE64_DECODE_BINARY",
    "BASE64_DECODE_STRING", "BASE64_ENCODE", "BITAND", "BITANDAGG", "BITAND_AGG", "BITMAP_BIT_POSITION",
    "BITMAP_BUCKET_NUMBER", "BITMAP_CONSTRUCT_AGG", "BITMAP_COUNT", "BITMAP_OR_AGG", "BITNOT", "BITOR",
    "BITORAGG", "BITOR_AGG", "BITSHIFTLEFT", "BITSHIFTRIGHT", "BITXOR", "BITXORAGG", "BITXOR_AGG",
    "BIT_AND", "BIT_AND_AGG", "BIT_LENGTH", "BIT_NOT", "BIT_OR", "BIT_OR_AGG", "BIT_SHIFTLEFT",
    "BIT_SHIFTRIGHT", "BIT_XOR", "BIT_XOR_AGG", "BOOLAND", "BOOLAND_AGG", "BOOLNOT", "BOOLOR", "BOOLOR_AGG",
    "BOOLXOR", "BOOLXOR_AGG", "CAST", "CBRT", "CEIL", "CEILING", "CHAR", "CHARACTER_LENGTH", "CHARINDEX",
    "CHAR_LENGTH", "CHECK_JSON", "CHECK_XML", "CHR", "CLASSIFIER", "COALESCE", "COLLATE", "COLLATION",
    "COMPRESS", "CONCAT", "CONCAT_WS", "CONDITIONAL_CHANGE_EVENT", "CONDITIONAL_TRUE_EVENT", "CONTAINS",
    "CONVERT_TIMEZONE", "CORR", "COS", "COSH", "COT", "COUNT", "COUNT_IF", "COVAR_POP", "COVAR_SAMP",
    "CUME_DIST", "CURRENT_ACCOUNT", "CURRENT_ACCOUNT_NAME", "CURRENT_AVAILABLE_ROLES", "CURRENT_CLIENT",
    "CURRENT_DATABASE", "CURRENT_DATE", "CURRENT_IP_ADDRESS", "CURRENT_ORGANIZATION_NAME", "CURRENT_REGION",
    "CURRENT_ROLE", "CURRENT_ROLE_TYPE", "CURRENT_SCHEMA", "CURRENT_SCHEMAS", "CURRENT_SECONDARY_ROLES",
    "CURRENT_SESSION", "CURRENT_STATEMENT", "CURRENT_TIME", "CURRENT_TIMESTAMP", "CURRENT_TRANSACTION",
    "CURRENT_USER", "CURRENT_VERSION", "CURRENT_WAREHOUSE", "DATE", "DATEADD", "DATEDIFF", "DATEFROMPARTS",
    "DATE_FROM_PARTS", "DATE_PART", "DATE_TRUNC", "DAY", "DAYNAME", "DAYOFMONTH", "DAYOFWEEK",
    "DAYOFWEEKISO", "DAYOFYEAR", "DECODE", "DECOMPRESS_BINARY", "DECOMPRESS_STRING", "DECRYPT",
    "DECRYPT_RAW", "DEGREES", "DENSE_RANK", "DIV0", "DIV0NULL", "EDITDISTANCE", "ENCRYPT", "ENCRYPT_RAW",
    "ENDSWITH", "EQUAL_NULL", "EXP", "EXTRACT", "FACTORIAL", "FILTER", "FIRST_VALUE", "FLATTEN", "FLOOR",
    "GET", "GETBIT", "GETDATE", "GETVARIABLE", "GET_IGNORE_CASE", "GET_PATH", "GREATEST",
    "GREATEST_IGNORE_NULLS", "GROUPING", "GROUPING_ID", "H3_CELL_TO_BOUNDARY", "H3_CELL_TO_PARENT",
    "H3_CELL_TO_POINT", "H3_LATLNG_TO_CELL", "H3_LATLNG_TO_CELL_STRING", "H3_POINT_TO_CELL",
    "H3_POINT_TO_CELL_STRING", "HASH", "HASH_AGG", "HAVERSINE", "HEX_DECODE_BINARY", "HEX_DECODE_STRING",
    "HEX_ENCODE", "HLL", "HLL_ACCUMULATE", "HLL_COMBINE", "HLL_ESTIMATE", "HLL_EXPORT", "HLL_IMPORT",
    "HOUR", "IFF", "IFNULL", "ILIKE", "INITCAP", "INSERT", "INVOKER_ROLE", "INVOKER_SHARE", "IS_ARRAY",
    "IS_BINARY", "IS_BOOLEAN", "IS_CHAR", "IS_DATABASE_ROLE_IN_SESSION", "IS_DATE", "IS_DATE_VALUE",
    "IS_DECIMAL", "IS_DOUBLE", "IS_GRANTED_TO_INVOKER_ROLE", "IS_INTEGER", "IS_NULL_VALUE", "IS_OBJECT",
    "IS_REAL", "IS_ROLE_IN_SESSION", "IS_TIME", "IS_TIMESTAMP_LTZ", "IS_TIMESTAMP_NTZ", "IS_TIMESTAMP_TZ",
    "IS_VARCHAR", "JAROWINKLER_SIMILARITY", "JSON_EXTRACT_PATH_TEXT", "KURTOSIS", "LAG", "LAST_DAY",
    "LAST_QUERY_ID", "LAST_TRANSACTION", "LAST_VALUE", "LEAD", "LEAST", "LEAST_IGNORE_NULLS", "LEFT", "LEN",
    "LENGTH", "LIKE", "LISTAGG", "LN", "LOCALTIME", "LOCALTIMESTAMP", "LOG", "LOWER", "LPAD", "LTRIM",
    "MAP_CAT", "MAP_CONTAINS_KEY", "MAP_DELETE", "MAP_INSERT", "MAP_KEYS", "MAP_PICK", "MAP_SIZE",
    "MATCH_NUMBER", "MATCH_SEQUENCE_NUMBER", "MAX", "MAX_BY", "MD5", "MD5_BINARY", "MD5_HEX",
    "MD5_NUMBER_LOWER64", "MD5_NUMBER_UPPER64", "MEDIAN", "MIN", "MINHASH", "MINHASH_COMBINE", "MINUTE",
    "MIN_BY", "MOD", "MODE", "MONTH", "MONTHNAME", "MONTHS_BETWEEN", "NEXT_DAY", "NORMAL", "NTH_VALUE",
    "NTILE", "NULLIF", "NULLIFZERO", "NVL", "NVL2", "OBJECT_AGG", "OBJECT_CONSTRUCT",
    "OBJECT_CONSTRUCT_KEEP_NULL", "OBJECT_DELETE", "OBJECT_INSERT", "OBJECT_KEYS", "OBJECT_PICK",
    "OCTET_LENGTH", "PARSE_IP", "PARSE_JSON", "PARSE_URL", "PARSE_XML", "PERCENTILE_CONT",
    "PERCENTILE_DISC", "PERCENT_RANK", "PI", "POSITION", "POW", "POWER", "PREVIOUS_DAY", "QUARTER",
    "RADIANS", "RANDOM", "RANDSTR", "RANK", "RATIO_TO_REPORT", "REDUCE", "REGEXP", "REGEXP_COUNT",
    "REGEXP_EXTRACT_ALL", "REGEXP_INSTR", "REGEXP_LIKE", "REGEXP_REPLACE", "REGEXP_SUBSTR",
    "REGEXP_SUBSTR_ALL", "REGR_AVGX", "REGR_AVGY", "REGR_COUNT", "REGR_INTERCEPT", "REGR_R2", "REGR_SLOPE",
    "REGR_SXX", "REGR_SXY", "REGR_SYY", "REGR_VALX", "REGR_VALY", "REPEAT", "REPLACE", "REVERSE", "RIGHT",
    "RLIKE", "ROUND", "ROW_NUMBER", "RPAD", "RTRIM", "RTRIMMED_LENGTH", "SECOND", "SEQ1", "SEQ2", "SEQ4",
    "SEQ8", "SHA1", "SHA1_BINARY", "SHA1_HEX", "SHA2", "SHA2_BINARY", "SHA2_HEX", "SIGN", "SIN", "SINH",
    "SKEW", "SOUNDEX", "SOUNDEX_P123", "SPACE", "SPLIT", "SPLIT_PART", "SQRT", "SQUARE", "STARTSWITH",
    "STDDEV", "STDDEV_POP", "STDDEV_SAMP", "STRIP_NULL_VALUE", "STRTOK", "STRTOK_TO_ARRAY", "ST_AREA",
    "ST_ASBINARY", "ST_ASEWKB", "ST_ASEWKT", "ST_ASGEOJSON", "ST_ASTEXT", "ST_ASWKB", "ST_ASWKT",
    "ST_AZIMUTH", "ST_BUFFER", "ST_CENTROID", "ST_COLLECT", "ST_CONTAINS", "ST_COVEREDBY", "ST_COVERS",
    "ST_DIFFERENCE", "ST_DIMENSION", "ST_DISJOINT", "ST_DISTANCE", "ST_DWITHIN", "ST_ENDPOINT",
    "ST_ENVELOPE", "ST_GEOGFROMGEOHASH", "ST_GEOGFROMTEXT", "ST_GEOGFROMWKB", "ST_GEOGPOINT",
    "ST_GEOGRAPHYFROMWKT", "ST_GEOHASH", "ST_GEOMETRYFROMWKT", "ST_GEOMFROMTEXT", "ST_GEOMPOINT",
    "ST_HAUSDORFFDISTANCE", "ST_INTERSECTION", "ST_INTERSECTS", "ST_ISVALID", "ST_LENGTH", "ST_MAKELINE",
    "ST_MAKEPOINT", "ST_MAKEPOLYGON", "ST_NPOINTS", "ST_NUMPOINTS", "ST_PERIMETER", "ST_POINT", "ST_POINTN",
    "ST_POLYGON", "ST_SETSRID", "ST_SIMPLIFY", "ST_SRID", "ST_STARTPOINT", "ST_SYMDIFFERENCE",
    "ST_TRANSFORM", "ST_UNION", "ST_WITHIN", "ST_X", "ST_XMAX", "ST_XMIN", "ST_Y", "ST_YMAX", "ST_YMIN",
    "SUBSTR", "SUBSTRING", "SUM", "SYSDATE", "SYSTIMESTAMP", "SYS_CONNECT_BY_PATH", "TAN", "TANH", "TIME",
    "TIMEADD", "TIMEDIFF", "TIMEFROMPARTS", "TIMESTAMPADD", "TIMESTAMPDIFF", "TIMESTAMPFROMPARTS",
    "TIMESTAMP_FROM_PARTS", "TIMESTAMP_LTZ", "TIMESTAMP_LTZ_FROM_PARTS", "TIMESTAMP_NTZ",
    "TIMESTAMP_NTZ_FROM_PARTS", "TIMESTAMP_TZ", "TIMESTAMP_TZ_FROM_PARTS", "TIME_FROM_PARTS", "TIME_SLICE",
    "TO_ARRAY", "TO_BINARY", "TO_BOOLEAN", "TO_CHAR", "TO_DATE", "TO_DECFLOAT", "TO_DECIMAL", "TO_DOUBLE",
    "TO_GEOGRAPHY", "TO_GEOMETRY", "TO_JSON", "TO_NUMBER", "TO_NUMERIC", "TO_OBJECT", "TO_TIME",
    "TO_TIMESTAMP", "TO_TIMESTAMP_LTZ", "TO_TIMESTAMP_NTZ", "TO_TIMESTAMP_TZ", "TO_VARCHAR", "TO_VARIANT",
    "TO_XML", "TRANSFORM", "TRANSLATE", "TRIM", "TRUNC", "TRUNCATE", "TRY_BASE64_DECODE_BINARY",
    "TRY_BASE64_DECODE_STRING", "TRY_CAST", "TRY_DECRYPT", "TRY_DECRYPT_RAW", "TRY_HEX_DECODE_BINARY",
    "TRY_HEX_DECODE_STRING", "TRY_PARSE_JSON", "TRY_TO_BINARY", "TRY_TO_BOOLEAN", "TRY_TO_DATE",
    "TRY_TO_DECFLOAT", "TRY_TO_DECIMAL", "TRY_TO_DOUBLE", "TRY_TO_GEOGRAPHY", "TRY_TO_GEOMETRY",
    "TRY_TO_NUMBER", "TRY_TO_NUMERIC", "TRY_TO_TIME", "TRY_TO_TIMESTAMP", "TRY_TO_TIMESTAMP_LTZ",
    "TRY_TO_TIMESTAMP_NTZ", "TRY_TO_TIMESTAMP_TZ", "TYPEOF", "UNICODE", "UNIFORM", "UPPER", "UUID_STRING",
    "VARIANCE", "VARIANCE_POP", "VARIANCE_SAMP", "VAR_POP", "VAR_SAMP", "VECTOR_COSINE_SIMILARITY",
    "VECTOR_INNER_PRODUCT", "VECTOR_L1_DISTANCE", "VECTOR_L2_DISTANCE", "WEEK", "WEEKISO", "WEEKOFYEAR",
    "WIDTH_BUCKET", "XMLGET", "YEAR", "YEAROFWEEK", "YEAROFWEEKISO", "ZEROIFNULL", "ZIPF",
];

#[cfg(test)]
mod tests {
    use sqlparser::ast::Ident;

    use super::*;

    fn name(parts: &[&str]) -> ObjectName {
        ObjectName::from(parts.iter().map(|p| Ident::new(*p)).collect::<Vec<_>>())
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(OWN.is_sorted());
    }

    #[test]
    fn only_listed_functions_are_trusted() {
        assert_eq!(reach(&name(&["upper"])), Reach::Arguments);
        for (parts, what) in [
            (&["leak"][..], "LEAK"),
            (&["s", "upper"][..], "s.upper"),
            (&["get_ddl"][..], "GET_DDL"),
            (&["snowflake", "cortex", "complete"][..], "snowflake.cortex.complete"),
        ] {
            assert_eq!(reach(&name(parts)), Reach::Unknown(what.to_owned()));
        }
        assert_eq!(
            reach(&ObjectName::from(vec![Ident::with_quote('"', "upper")])),
            Reach::Unknown("UPPER".to_owned())
        );
    }

    #[test]
    fn what_reaches_elsewhere_is_noticed_in_any_spelling() {
        for parts in [&["system$wait"][..], &["SYSTEM$GET_TAG"], &["db", "s", "System$X"], &["result_scan"]] {
            assert!(matches!(reach(&name(parts)), Reach::Elsewhere(_)), "{parts:?}");
        }
        assert_eq!(table_reach(&name(&["flatten"])), Reach::Arguments);
        for parts in [&["information_schema", "query_history"][..], &["validate"], &["s", "flatten"]] {
            assert!(matches!(table_reach(&name(parts)), Reach::Elsewhere(_)), "{parts:?}");
        }
    }
}
