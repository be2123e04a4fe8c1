// tests/golden/parquet/make.mjs: the Parquet files beside it, written by other people's programs.
//
// Run in a folder where these packages of node's registry are installed (node 20.20.2):
//   parquet-wasm 0.8.0 (arrow-rs), apache-arrow 21.2.0, hyparquet-writer 0.17.0, @dsnp/parquetjs 1.8.8
//   cp make.mjs FOLDER && cd FOLDER && node make.mjs OUT
// The data are made up here. expected.csv holds what every reader must find in the files named aw_*, hw_* and pj_*;
// the files left_*.parquet and odd_*.parquet are described in tests/io/test_parquet.c.
import fs from 'node:fs'
import * as arrow from 'apache-arrow'
import * as pw from 'parquet-wasm'
import { parquetWriteBuffer } from 'hyparquet-writer'
import parquetjs from '@dsnp/parquetjs'

const out = process.argv[2] ?? '.'
const N = 60
const captions = [
  'a red bicycle against a brick wall', 'zwei Hunde im Schnee, „Größe“ 3 m²', '夕焼けの海と鳥', 'صورة قطة نائمة', '🧑🏽‍🚀 on the 🌕',
  null, '', 'comma, "quote" and\nline break', 'cafe\u0301 au lait', '  spaces kept  ']
const float = (x) => { // the fewest digits that a float32 reads back from
  for (let p = 1; ; p++) if (Math.fround(Number(x.toPrecision(p))) === x) return String(Number(x.toPrecision(p)))
}
const rows = Array.from({ length: N }, (_, i) => ({
  url: `https://pictures.example/${(i * 7919) % 1000}/${i}.jpg`,
  caption: captions[(i * 3) % captions.length],
  key: String(i).padStart(9, '0'),
  width: i % 9 === 4 ? null : 200 + ((i * 131) % 997),
  height: i === 0 ? -2147483648 : i === 1 ? 2147483647 : i * i,
  bytes: i === 2 ? 9223372036854775807n : i === 3 ? -9223372036854775808n : BigInt(i) * 10000000019n,
  similarity: i % 7 === 6 ? null : i === 5 ? 0.1 : i === 8 ? -0 : Math.round(Math.sin(i) * 1e9) / 3e9,
  score: Math.fround(i === 4 ? 0.1 : Math.cos(i) * 10),
  nsfw: i % 11 === 3 ? null : ['UNLIKELY', 'UNSURE', 'NSFW'][i < 30 ? 0 : i % 3],
  ok: i % 13 === 12 ? null : i % 3 !== 0,
  nothing: null,
  page: i < 20 ? 'same page' : i < 40 ? null : 'page ' + (i % 4),
}))
const names = Object.keys(rows[0])
const column = (n) => rows.map((r) => r[n])

const shown = (n, v) => v === null ? '' : n === 'score' ? float(v) : n === 'similarity' && Object.is(v, -0) ? '-0' : String(v)
const csv = (s) => /[",\n\r]/.test(s) ? '"' + s.replaceAll('"', '""') + '"' : s
fs.writeFileSync(`${out}/expected.csv`,
  [names, ...rows.map((r) => names.map((n) => shown(n, r[n])))].map((r) => r.map(csv).join(',')).join('\n') + '\n')

// ---- arrow-rs
const U = () => new arrow.Utf8(), types = {
  url: U(), caption: U(), key: U(), width: new arrow.Int32(), height: new arrow.Int32(), bytes: new arrow.Int64(),
  similarity: new arrow.Float64(), score: new arrow.Float32(), nsfw: U(), ok: new arrow.Bool(), nothing: U(), page: U() }
const vector = (values, type) => arrow.vectorFromArray(values, type)
const required = new Set(['url', 'key', 'height', 'bytes', 'score'])
function arrowTable(cols) { // { name: [values, type] }
  const fields = Object.entries(cols).map(([n, [, t]]) => new arrow.Field(n, t, !required.has(n)))
  const vectors = Object.entries(cols).map(([n, [v, t]]) => vector(v, t))
  const schema = new arrow.Schema(fields)
  const data = arrow.makeData({ type: new arrow.Struct(fields), children: vectors.map((v) => v.data[0]), length: vectors[0].length })
  return new arrow.Table(schema, [new arrow.RecordBatch(schema, data)])
}
function write(name, table, build) {
  const props = build(new pw.WriterPropertiesBuilder()).build()
  fs.writeFileSync(`${out}/${name}.parquet`, pw.writeParquet(pw.Table.fromIPCStream(arrow.tableToIPC(table, 'stream')), props))
}
const all = arrowTable(Object.fromEntries(names.map((n) => [n, [column(n), types[n]]])))
const C = pw.Compression, E = pw.Encoding, V = pw.WriterVersion
const quiet = (b) => b.setStatisticsEnabled(pw.EnabledStatistics.None)
write('aw_v1_dict_snappy', all, (b) => b.setCompression(C.SNAPPY).setWriterVersion(V.V1))
write('aw_v1_plain_none', all, (b) => quiet(b).setCompression(C.UNCOMPRESSED).setWriterVersion(V.V1).setDictionaryEnabled(false))
write('aw_v1_groups_gzip', all, (b) => b.setCompression(C.GZIP).setWriterVersion(V.V1).setMaxRowGroupSize(7))
write('aw_v2_dict_zstd', all, (b) => b.setCompression(C.ZSTD).setWriterVersion(V.V2).setMaxRowGroupSize(25))
write('aw_v2_delta_none', all, (b) => { // arrow-rs: version 2 without a dictionary takes the delta encodings
  b = quiet(b).setCompression(C.UNCOMPRESSED).setWriterVersion(V.V2).setDictionaryEnabled(false)
  b = b.setColumnEncoding('url', E.DELTA_BYTE_ARRAY).setColumnEncoding('caption', E.DELTA_LENGTH_BYTE_ARRAY)
  return b.setColumnEncoding('similarity', E.BYTE_STREAM_SPLIT).setColumnEncoding('score', E.BYTE_STREAM_SPLIT)
})
write('aw_v2_pages_snappy', all, (b) =>
  b.setCompression(C.SNAPPY).setWriterVersion(V.V2).setDataPageSizeLimit(64).setWriteBatchSize(8).setDictionaryPageSizeLimit(200))

// ---- what is left out, or refused by name
const three = ['one', 'two', 'three'], ints = new arrow.Int32()
const list = new arrow.List(new arrow.Field('item', ints, true))
const struct = new arrow.Struct([new arrow.Field('x', ints, true), new arrow.Field('y', list, true)])
const mixed = arrowTable({
  text: [three, U()], tags: [[[1, 2], null, []], list], box: [[{ x: 1, y: [2] }, null, { x: 3, y: null }], struct],
  jpg: [[Uint8Array.of(0xff, 0xd8, 0xff), Uint8Array.of(1), Uint8Array.of(2)], new arrow.Binary()],
  hash: [[Uint8Array.of(1, 2), Uint8Array.of(3, 4), Uint8Array.of(5, 6)], new arrow.FixedSizeBinary(2)],
  bare: [three.map((s) => new TextEncoder().encode(s)), new arrow.Binary()],
  small: [[255, 0, 7], new arrow.Uint8()], big: [[18446744073709551615n, 0n, 1n], new arrow.Uint64()],
  wide: [[4294967295, 0, 1], new arrow.Uint32()], day: [[new Date(0), new Date(864e5), null], new arrow.DateDay()],
  null: [[null, null, null], new arrow.Null()], last: [[1, 2, 3], ints] })
write('left_out', mixed, (b) => quiet(b).setCompression(C.SNAPPY))
const words = arrowTable({ text: [three, U()], n: [[1, 2, 3], ints] })
write('left_brotli', words, (b) => quiet(b).setCompression(C.BROTLI))
write('left_lz4', words, (b) => quiet(b).setCompression(C.LZ4_RAW))
write('left_lz4_one', words, (b) => quiet(b).setCompression(C.ZSTD).setColumnCompression('n', C.LZ4_RAW))
write('odd_zero', arrowTable({ text: [['a\0b', '\0', 'plain'], U()] }), (b) => quiet(b).setCompression(C.UNCOMPRESSED))
write('odd_empty', arrowTable({ text: [[], U()], n: [[], ints] }), (b) => b)

// ---- hyparquet-writer
const hw = { url: 'STRING', caption: 'STRING', key: 'STRING', width: 'INT32', height: 'INT32', bytes: 'INT64',
  similarity: 'DOUBLE', score: 'FLOAT', nsfw: 'STRING', ok: 'BOOLEAN', nothing: 'STRING', page: 'STRING' }
const hwColumns = (more = {}) => names.map((n) => ({ name: n, data: column(n), type: hw[n], ...more[n] }))
const save = (name, buffer) => fs.writeFileSync(`${out}/${name}.parquet`, Buffer.from(buffer))
save('hw_snappy', parquetWriteBuffer({ columnData: hwColumns(), rowGroupSize: [10, 40] }))
save('hw_delta', parquetWriteBuffer({ codec: 'UNCOMPRESSED', pageSize: 100, columnData: hwColumns({
  url: { encoding: 'DELTA_BYTE_ARRAY' }, caption: { encoding: 'DELTA_LENGTH_BYTE_ARRAY' }, width: { encoding: 'DELTA_BINARY_PACKED' },
  height: { encoding: 'DELTA_BINARY_PACKED' }, bytes: { encoding: 'DELTA_BINARY_PACKED' }, similarity: { encoding: 'BYTE_STREAM_SPLIT' },
  score: { encoding: 'BYTE_STREAM_SPLIT' }, ok: { encoding: 'RLE' } }) }))

// ---- parquetjs
const pj = { url: 'UTF8', caption: 'UTF8', key: 'UTF8', width: 'INT32', height: 'INT32', bytes: 'INT64', similarity: 'DOUBLE',
  score: 'FLOAT', nsfw: 'UTF8', ok: 'BOOLEAN', nothing: 'UTF8', page: 'UTF8' }
for (const [name, codec, useDataPageV2] of [['pj_v1_gzip', 'GZIP', false], ['pj_v2_snappy', 'SNAPPY', true], ['pj_v2_none', 'UNCOMPRESSED', true]]) {
  const schema = new parquetjs.ParquetSchema(Object.fromEntries(names.map((n) =>
    [n, { type: pj[n], compression: codec, optional: !required.has(n) }])))
  const w = await parquetjs.ParquetWriter.openFile(schema, `${out}/${name}.parquet`, { useDataPageV2, rowGroupSize: 32 })
  for (const r of rows)
    await w.appendRow(Object.fromEntries(Object.entries(r).filter(([, v]) => v !== null)))
  await w.close()
}
